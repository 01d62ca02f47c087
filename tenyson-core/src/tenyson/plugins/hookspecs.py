"""The six hooks. They take no arguments and return descriptors, so a hook can grow without breaking anybody."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from tenyson.plugins.entries import BackendEntry, EngineEntry, ReportHelperEntry, SinkEntry, TaskEntry
from tenyson.plugins.job_kind import JobKind

hookspec = pluggy.HookspecMarker("tenyson")


@hookspec
def tenyson_tasks() -> Iterable[TaskEntry]:  # type: ignore[empty-body]
    """Tasks: what is learnt."""


@hookspec
def tenyson_backends() -> Iterable[BackendEntry]:  # type: ignore[empty-body]
    """Backends: where a job runs."""


@hookspec
def tenyson_sinks() -> Iterable[SinkEntry]:  # type: ignore[empty-body]
    """Telemetry sinks: where events are recorded."""


@hookspec
def tenyson_report_helpers() -> Iterable[ReportHelperEntry]:  # type: ignore[empty-body]
    """Report helpers: what fills a report's placeholders."""


@hookspec
def tenyson_engines() -> Iterable[EngineEntry]:  # type: ignore[empty-body]
    """Engines: how text is generated."""


@hookspec
def tenyson_jobs() -> Iterable[JobKind]:  # type: ignore[empty-body]
    """Kinds of job: what is run, such as a way to train."""
