"""What `tenyson run` was asked for, and the plan that this comes to."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from tenyson.errors import ConfigError, TaskError

if TYPE_CHECKING:
    from tenyson.pipeline.plan import Plan
    from tenyson.tasks.plugin import TaskPlugin


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    task: str | None
    preset: str | None
    job: str | None
    config: str | None
    overrides: tuple[str, ...]
    backend: str | None
    run_id: str | None
    resume: str | None
    output_dir: str | None
    on_failure: str

    def command(self, run_id: str) -> str:
        """The command that goes on with this run after it was interrupted."""
        words = ["tenyson", "run"]
        named = {"task": self.task, "preset": self.preset, "job": self.job, "config": self.config}
        named |= {"backend": self.backend, "output-dir": self.output_dir}
        for option, value in named.items():
            words += [f"--{option}", value] if value else []
        for override in self.overrides:
            words += ["--set", override]
        words += ["--on-failure", self.on_failure] if self.on_failure != "wait" else []
        return shlex.join([*words, "--run-id", run_id, "--resume-from-checkpoint", "latest"])


def make_plan(request: Request) -> tuple[Plan, TaskPlugin]:
    """Resolve everything, starting nothing. The task is there for its class; each step has its own arguments.

    Raises:
        click.UsageError: the options do not fit together.
        TenysonError: configuration, preset or task cannot be used.
    """
    if request.job is None:
        return _plan_pipeline(request)
    if request.preset is not None:
        raise click.UsageError("--preset is a whole pipeline, --job a single one: give one of them")
    if request.config is None:
        raise click.UsageError("--job needs --config FILE")
    return _plan_job(request)


def _plan_pipeline(request: Request) -> tuple[Plan, TaskPlugin]:
    from tenyson.pipeline.plan import new_pipeline_id, plan_preset

    if request.config is not None:
        raise click.UsageError(
            "--config FILE is the configuration of one job: say which with --job sft, rl or eval"
        )
    if request.task is None:
        raise click.UsageError(
            "give --task NAME (tenyson presets lists what there is), or --job with --config"
        )
    if request.resume not in (None, "latest"):
        raise click.UsageError(
            "a pipeline resumes with --resume-from-checkpoint latest; single checkpoints need --job"
        )
    if request.resume and request.run_id is None:
        raise click.UsageError("--resume-from-checkpoint latest needs the --run-id that the pipeline had")
    task = _task(request.task, {})
    preset = _choose_preset(task, request)
    title = f"{task.name or type(task).__name__} {preset.name}"
    plan = plan_preset(
        preset,
        _task_section(request.task),
        pipeline_id=request.run_id or new_pipeline_id(title),
        title=title,
        output_dir=Path(request.output_dir) if request.output_dir else None,
        overrides=request.overrides,
        defaults={"telemetry": _telemetry_defaults()},
    )
    return plan, task


def _plan_job(request: Request) -> tuple[Plan, TaskPlugin]:
    from tenyson.config.load import load_config
    from tenyson.jobs.job import new_run_id
    from tenyson.pipeline.plan import Plan, PlannedStep

    assert request.config is not None
    config = load_config(request.config, request.overrides).model_dump(mode="json")
    spec = request.task or config["task"]["name"] or config["task"]["module"]
    if spec is None:
        raise click.UsageError(f"which task? Give --task NAME, or task.name in {request.config}")
    task = _task(spec, config["task"]["args"])
    config["task"] |= {"name": None, "module": None, **_task_section(spec)}
    run_id = (
        request.run_id
        or config["run"]["id"]
        or new_run_id(str(request.job), task.name or type(task).__name__)
    )
    config["run"]["id"] = run_id
    config["telemetry"] = {
        **_telemetry_defaults(),
        **{k: v for k, v in config["telemetry"].items() if v is not None},
    }
    if request.resume is not None:
        if request.job == "eval":
            raise click.UsageError(
                "an evaluation has no checkpoints: --resume-from-checkpoint is for sft and rl"
            )
        config["training"]["resume_from_checkpoint"] = request.resume
    if request.output_dir is not None:
        config["run"]["output_dir"] = request.output_dir
    step = PlannedStep(str(request.job), request.job, config)  # type: ignore[arg-type]
    return Plan(
        run_id, f"{request.job} {task.name or type(task).__name__}", step.folder.parent, (step,)
    ), task


def _telemetry_defaults() -> dict[str, Any]:
    """The command line records every run; configurations that name a database of their own keep it.

    Raises:
        ConfigError: the URL in the environment holds a password, which would be written beside the results.
    """
    from tenyson.telemetry.store import DB_URL_VARIABLE, DEFAULT_DB_URL

    url = os.environ.get(DB_URL_VARIABLE) or DEFAULT_DB_URL
    if urlsplit(url).password:
        raise ConfigError(
            f"{DB_URL_VARIABLE} holds a password, and configurations are written beside results",
            next_step="Leave it out of the URL, and give it to PostgreSQL by ~/.pgpass or PGPASSWORD.",
        )
    return {"db_url": url}


def _choose_preset(task: TaskPlugin, request: Request) -> Any:
    from tenyson.config.explain import did_you_mean

    presets = task.presets()
    name = task.name or type(task).__name__
    if not presets:
        raise TaskError(f"the task {name} has no presets", next_step="Run one job: --job sft --config FILE.")
    if request.preset is None:
        return next(iter(presets.values()))
    if request.preset not in presets:
        near = did_you_mean(request.preset, presets)
        hint = f"{near[0].upper()}{near[1:]} " if near else ""
        raise TaskError(
            f"the task {name} has no preset {request.preset!r}",
            next_step=f"{hint}Known: {', '.join(presets)}.",
        )
    return presets[request.preset]


def _is_module(spec: str) -> bool:
    return ":" in spec or spec.endswith(".py") or "/" in spec


def _task_section(spec: str) -> dict[str, Any]:
    return {"module": spec} if _is_module(spec) else {"name": spec}


def _task(spec: str, arguments: Mapping[str, Any]) -> TaskPlugin:
    from tenyson.tasks.load import load_task

    return load_task(spec, arguments)
