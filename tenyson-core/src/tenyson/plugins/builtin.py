"""What core itself registers, in the same way as everybody."""

from __future__ import annotations

from collections.abc import Iterable

from tenyson.plugins import (
    BackendEntry,
    EngineEntry,
    JobKind,
    ReportHelperEntry,
    SinkEntry,
    TaskEntry,
    hookimpl,
)


@hookimpl
def tenyson_tasks() -> Iterable[TaskEntry]:
    """The task of core: a file of one's own."""
    return [
        TaskEntry(
            name="dataset",
            summary="Files (JSONL, CSV, Parquet) and data sets of the Hub",
            load="tenyson.tasks.dataset.task:DatasetTask",
            settings="tenyson.tasks.dataset.settings:DatasetSettings",
        )
    ]


@hookimpl
def tenyson_backends() -> Iterable[BackendEntry]:
    """The machine at hand."""
    return [
        BackendEntry(
            name="local",
            summary="This machine, in a process of its own",
            load="tenyson.cloud.local.backend:LocalBackend",
            settings="tenyson.cloud.local.settings:LocalSettings",
        )
    ]


@hookimpl
def tenyson_sinks() -> Iterable[SinkEntry]:
    """The four sinks of core."""
    return [
        SinkEntry(
            name="console",
            summary="Lines on the terminal",
            load="tenyson.telemetry.sinks.console:ConsoleSink",
        ),
        SinkEntry(
            name="jsonl",
            summary="One JSON line an event, in the run's folder",
            load="tenyson.telemetry.sinks.jsonl:JsonlSink",
        ),
        SinkEntry(
            name="sql",
            summary="SQLite or PostgreSQL through SQLAlchemy",
            load="tenyson.telemetry.sinks.sql:SqlSink",
            settings="tenyson.telemetry.sinks.settings:SqlSettings",
        ),
        SinkEntry(
            name="wandb",
            summary="Weights & Biases, online or offline",
            load="tenyson.telemetry.sinks.wandb:WandbSink",
        ),
    ]


@hookimpl
def tenyson_engines() -> Iterable[EngineEntry]:
    """The engines of core."""
    return [
        EngineEntry(
            name="transformers",
            summary="transformers' generate: any machine",
            load="tenyson.engines.transformers:TransformersEngine",
        ),
        EngineEntry(
            name="vllm", summary="vLLM: continuous batching", load="tenyson.engines.vllm.engine:VllmEngine"
        ),
        EngineEntry(
            name="openai",
            summary="A model behind an OpenAI-compatible URL, for evaluation",
            load="tenyson.engines.chat.openai_engine:OpenAIEngine",
        ),
    ]


@hookimpl
def tenyson_report_helpers() -> Iterable[ReportHelperEntry]:
    """What the report of a pipeline is made of."""
    helpers = "tenyson.reporting.helpers"
    return [
        ReportHelperEntry(
            name="steps",
            summary="The pipeline's steps: state, attempts, decisions",
            load=f"{helpers}.progress:steps",
        ),
        ReportHelperEntry(
            name="cost", summary="Machine time, waits and money of each step", load=f"{helpers}.progress:cost"
        ),
        ReportHelperEntry(
            name="stages", summary="What was run, and how long it took", load=f"{helpers}.stages:stages"
        ),
        ReportHelperEntry(
            name="stage-table",
            summary="Metrics of all evaluations",
            load=f"{helpers}.evaluations:stage_table",
        ),
        ReportHelperEntry(
            name="differences", summary="What each stage changed", load=f"{helpers}.evaluations:differences"
        ),
        ReportHelperEntry(
            name="slices", summary="Metrics over parts of the samples", load=f"{helpers}.evaluations:slices"
        ),
        ReportHelperEntry(
            name="curves", summary="Learning curves as SVG files", load=f"{helpers}.curves:curves"
        ),
        ReportHelperEntry(
            name="findings",
            summary="What preflight and diagnosis found",
            load=f"{helpers}.findings:findings",
        ),
        ReportHelperEntry(
            name="samples", summary="Best, median and worst rollouts", load=f"{helpers}.samples:samples"
        ),
        ReportHelperEntry(
            name="configuration",
            summary="Versions, data and settings",
            load=f"{helpers}.configuration:configuration",
        ),
    ]


_MEMORY, _PREFLIGHT = "tenyson.jobs.models.memory", "tenyson.jobs.preflight.job_checks"


@hookimpl
def tenyson_jobs() -> Iterable[JobKind]:
    """The kinds of job of core."""
    return [
        JobKind(
            name="sft",
            summary="Supervised fine-tuning with TRL's SFTTrainer",
            load="tenyson.jobs.sft:SFTJob",
            samples="sft_samples",
            unread=(
                "training.num_generations",
                "training.pause_on",
                "training.preflight_groups",
                "training.beta",
                "training.check_every",
                "generation",
                "endpoint",
                "evaluation",
                "engine_args",
            ),
            trl_config="trl:SFTConfig",
            arguments="tenyson.config.checks.trl_arguments:SFT",
            memory=f"{_MEMORY}:sft_memory",
            preflight=f"{_PREFLIGHT}:SFTPreflight",
        ),
        JobKind(
            name="rl",
            summary="Reinforcement learning with TRL's GRPOTrainer",
            load="tenyson.jobs.rl:RLJob",
            generates=True,
            samples="rl_samples",
            unread=(
                "training.max_length",
                "training.packing",
                "training.reasoning",
                "training.early_stopping_patience",
                "training.early_stopping_min_delta",
                "training.target_eval_loss",
                "endpoint",
                "evaluation",
            ),
            logs=("loss", "reward"),
            rows="completions",
            trl_config="trl:GRPOConfig",
            arguments="tenyson.config.checks.trl_arguments:GRPO",
            memory=f"{_MEMORY}:rl_memory",
            preflight=f"{_PREFLIGHT}:RLPreflight",
        ),
        JobKind(
            name="eval",
            summary="Evaluation: rollouts of an engine, measured by the task",
            load="tenyson.jobs.eval:EvalJob",
            trains=False,
            generates=True,
            samples="eval_samples",
            unread=("training", "trl", "peft"),
            verbs=("stop", "pause", "resume"),
            logs=(),
            rows="rollouts",
            memory=f"{_MEMORY}:eval_memory",
            preflight=f"{_PREFLIGHT}:EvalPreflight",
        ),
        JobKind(
            name="dpo",
            summary="Direct preference optimization with TRL's DPOTrainer",
            load="tenyson.jobs.dpo:DPOJob",
            samples="preference_samples",
            unread=(
                "training.packing",
                "training.num_generations",
                "training.pause_on",
                "training.preflight_groups",
                "training.beta",
                "training.check_every",
                "generation",
                "endpoint",
                "evaluation",
                "engine_args",
            ),
            curves={"rewards": ("rewards/chosen", "rewards/rejected"), "margins": ("rewards/margins",)},
            rows="pairs",
            reference=True,
            trl_config="trl:DPOConfig",
            arguments="tenyson.config.checks.dpo_arguments:DPO",
            memory="tenyson.jobs.models.dpo_memory:dpo_memory",
            preflight="tenyson.jobs.preflight.dpo_checks:DPOPreflight",
        ),
    ]
