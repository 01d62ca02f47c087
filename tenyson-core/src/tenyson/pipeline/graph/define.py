"""Defining: the steps of a plan become what the journal keeps of them. Making the jobs checks them; none starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.graph.handover import expected_kind, start_from
from tenyson.pipeline.graph.plan import PlannedStep
from tenyson.pipeline.graph.step import Step, with_values
from tenyson.plugins.job_kinds import job_class

if TYPE_CHECKING:
    from tenyson.cloud.manager import SpecifiedJob
    from tenyson.jobs.job import Job
    from tenyson.tasks.plugin import TaskPlugin


def define(steps: Iterable[PlannedStep], job_of: Callable[[PlannedStep], SpecifiedJob]) -> list[Definition]:
    """The steps as the journal keeps them; `job_of` makes a step's job. Raises: ConfigError, TaskError."""
    return [
        Definition(
            step.label,
            job_of(step).spec(),
            step.needs,
            step.model_from,
            step.checkpoint_from,
            step.late,
        )
        for step in steps
    ]


def make_job(planned: PlannedStep, task: TaskPlugin) -> Job:
    """The job of a planned step; `task` is there for its class. Raises: ConfigError, TaskError."""
    from tenyson.tasks.load import build_task

    config = planned.config if planned.parsed is None else planned.parsed
    return job_class(planned.job)(config, build_task(type(task), planned.config["task"]["args"]))


def plan_steps(steps: Iterable[Step], pipeline_id: str) -> list[PlannedStep]:
    """A script's steps as a plan has them: each with a run id, what it needs, and the model that it is expected to start from."""
    planned: dict[str, PlannedStep] = {}
    before: tuple[str, ...] = ()
    for step in steps:
        run_id = (step.config.get("run") or {}).get("id") or f"{pipeline_id}-{step.label}"
        config = with_values(step.config, "run", id=run_id)
        needs = before if step.needs is None else tuple(step.needs)
        if step.model_from is not None:
            needs = tuple(dict.fromkeys((*needs, step.model_from)))
            source = planned[step.model_from]
            kind = expected_kind(source.config)
            config = start_from(config, source.config, source.folder / kind, kind)
        job = str(getattr(step.job, "job_type", ""))
        planned[step.label] = PlannedStep(step.label, job, config, step.model_from, needs=needs)
        before = (step.label,)
    return list(planned.values())
