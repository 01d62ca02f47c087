"""Runs a plan: its steps through `run_pipeline`, and the report at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.errors import ConfigError, Problem, TenysonError
from tenyson.jobs.result import JobResult
from tenyson.pipeline.decision import Ask, OnFailure, ask_terminal
from tenyson.pipeline.plan import Plan, PlannedStep
from tenyson.pipeline.result import PipelineResult
from tenyson.pipeline.run import Cloud, run_pipeline
from tenyson.pipeline.step import Step, with_values
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.preset import JobType

if TYPE_CHECKING:
    from tenyson.jobs.job import Job


@dataclass(frozen=True)
class Execution:
    """What running a plan gave."""

    result: PipelineResult
    report: Path | None
    """The report; None where there was nothing to report on, or it could not be written."""


def job_class(job_type: JobType) -> type[Job]:
    """SFTJob, RLJob or EvalJob. Importing one needs no torch."""
    if job_type == "sft":
        from tenyson.jobs.sft import SFTJob

        return SFTJob
    if job_type == "rl":
        from tenyson.jobs.rl import RLJob

        return RLJob
    from tenyson.jobs.eval import EvalJob

    return EvalJob


def make_job(planned: PlannedStep, task: TaskPlugin) -> Job:
    """The job of a step, which checks its configuration and the task's arguments. Raises: ConfigError, TaskError."""
    return job_class(planned.job)(planned.config, _own_task(planned, task))


def execute(
    plan: Plan,
    task: TaskPlugin,
    cloud: Cloud,
    on_failure: OnFailure = "wait",
    *,
    resume: bool = False,
    report: bool = True,
    ask: Ask = ask_terminal,
    log_file: str | Path | None = None,
    webhook_url: str | None = None,
) -> Execution:
    """Run all steps of a plan and write <output_dir>/<plan id>/report.md.

    Args:
        task: gives the class; every step has it built with its own `task.args`.
        resume: take over the steps that an earlier run of the same plan finished, and go on with the one it broke
            off in from its latest checkpoint.

    Raises:
        ConfigError: nothing was started; with `resume`, the earlier run had another configuration.
    """
    done = finished_steps(plan, task) if resume else {}
    steps = [_step(planned, task, resume=resume and planned.label not in done) for planned in plan.steps]
    result = run_pipeline(
        steps, cloud, on_failure, ask=ask, done=done, log_file=log_file, webhook_url=webhook_url
    )
    return Execution(result, write_report(plan, result, task) if report else None)


def write_report(plan: Plan, result: PipelineResult, task: TaskPlugin) -> Path | None:
    """The report on all steps that ran. One that cannot be written is a warning: the runs are what counts."""
    from tenyson.reporting.pipeline import write_report as write

    kinds = {planned.label: planned.job for planned in plan.steps}
    stages = [(label, kinds[label], one) for label, one in result.results.items()]
    if not stages:
        return None
    try:
        return write(plan.title, stages, plan.directory, task)
    except (TenysonError, OSError) as error:
        print(f"warning: the report could not be written: {error}", file=sys.stderr)  # noqa: T201
        return None


def finished_steps(plan: Plan, task: TaskPlugin) -> dict[str, JobResult]:
    """Results of the steps, from the first one on, that an earlier run of this plan finished.

    Raises:
        ConfigError: a finished step was made with another configuration.
    """
    done: dict[str, JobResult] = {}
    for planned in plan.steps:
        try:
            result = JobResult.load(planned.folder / "job_result.json")
        except TenysonError:
            break
        if result.status != "success":
            break
        _same_configuration(planned, task)
        done[planned.label] = result
    return done


def _step(planned: PlannedStep, task: TaskPlugin, *, resume: bool) -> Step:
    config: Mapping[str, Any] = planned.config
    if resume and planned.job != "eval":
        config = with_values(config, "training", resume_from_checkpoint="latest")
    return Step(planned.label, config, job_class(planned.job), _own_task(planned, task), planned.model_from)


def _own_task(planned: PlannedStep, task: TaskPlugin) -> TaskPlugin:
    from tenyson.tasks.load import build_task

    return build_task(type(task), planned.config["task"]["args"])


def _same_configuration(planned: PlannedStep, task: TaskPlugin) -> None:
    from tenyson.config.load import load_config

    before = load_config(planned.folder / "config.yaml").model_dump(mode="json")
    problems = [
        Problem(f"was {was!r} when step {planned.label} ran, and is {now!r} now", key=key)
        for key, was, now in _differences(before, make_job(planned, task).spec().config)
    ]
    if problems:
        raise ConfigError(
            problems, next_step="Resume with the settings of then, or start anew with another --run-id."
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Keys that decide what a step computes and that differ; where it ran and was recorded does not count."""
    found = []
    for section in ("task", "training", "generation", "evaluation", "peft", "trl", "engine_args"):
        one, other = before.get(section), now.get(section)
        if not isinstance(one, Mapping) or not isinstance(other, Mapping):
            if one != other:
                found.append((section, one, other))
            continue
        for key in sorted({*one, *other} - {"resume_from_checkpoint"}):
            if one.get(key) != other.get(key):
                found.append((f"{section}.{key}", one.get(key), other.get(key)))
    if before["run"]["seed"] != now["run"]["seed"]:
        found.append(("run.seed", before["run"]["seed"], now["run"]["seed"]))
    return found
