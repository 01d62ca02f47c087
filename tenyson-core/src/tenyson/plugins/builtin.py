"""What core itself registers, in the same way as everybody."""

from __future__ import annotations

from collections.abc import Iterable

from tenyson.plugins import BackendEntry, EngineEntry, ReportHelperEntry, SinkEntry, hookimpl


@hookimpl
def tenyson_backends() -> Iterable[BackendEntry]:
    """The machine at hand."""
    return [BackendEntry(name="local", summary="This machine, in a process of its own", load="tenyson.cloud.local:LocalBackend")]


@hookimpl
def tenyson_sinks() -> Iterable[SinkEntry]:
    """The four sinks of core."""
    return [
        SinkEntry(name="console", summary="Lines on the terminal", load="tenyson.telemetry.sinks.console:ConsoleSink"),
        SinkEntry(name="jsonl", summary="One JSON line an event, in the run's folder", load="tenyson.telemetry.sinks.jsonl:JsonlSink"),
        SinkEntry(name="sql", summary="SQLite or PostgreSQL through SQLAlchemy", load="tenyson.telemetry.sinks.sql:SqlSink"),
        SinkEntry(name="wandb", summary="Weights & Biases, online or offline", load="tenyson.telemetry.sinks.wandb:WandbSink"),
    ]


@hookimpl
def tenyson_engines() -> Iterable[EngineEntry]:
    """The two engines of core."""
    return [
        EngineEntry(name="transformers", summary="transformers' generate: any machine", load="tenyson.engines.transformers:TransformersEngine"),
        EngineEntry(name="vllm", summary="vLLM: continuous batching", load="tenyson.engines.vllm:VllmEngine"),
    ]


@hookimpl
def tenyson_report_helpers() -> Iterable[ReportHelperEntry]:
    """Filled in by reporting."""
    return []
