"""What `tenyson doctor` examines: the jobs that a file asks for, each as it can be looked at before any has run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli.pipelines.request import Request, make_plan
from tenyson.errors import TaskError
from tenyson.pipeline.control.preflight import standing_in

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.job import Job
    from tenyson.pipeline.graph.plan import PlannedStep
    from tenyson.tasks.plugin import TaskPlugin

_PAIRS: tuple[tuple[str, str], ...] = (("sft", "rl"), ("rl", "sft"))


@dataclass(frozen=True)
class Case:
    """One job to examine."""

    label: str
    """The step of an experiment, or the kind of job."""
    job: Job
    note: str = ""
    """How it differs from what will run."""


def find_cases(file: str, job: str | None, task: str | None, overrides: tuple[str, ...]) -> list[Case]:
    """The job of a configuration, each kind of job that it can be, or all steps of an experiment file.

    Raises:
        click.UsageError: a kind of job is given for an experiment file.
        TenysonError: file, task or overrides cannot be used.
    """
    from tenyson.config.experiment.names import is_experiment
    from tenyson.config.reading import read_document
    from tenyson.pipeline.execute import make_job

    if is_experiment(read_document(file)):
        if job is not None:
            raise click.UsageError(f"{file} is an experiment with jobs of its own: leave out --job")
        plan, tasks, _ = make_plan(Request(file=file, task=task, overrides=overrides))
        cases, seen = [], dict[str, Mapping[str, Any]]()
        for step in plan.steps:
            config, note = _before(step, seen)
            seen[step.label] = config
            cases.append(Case(step.label, make_job(replace(step, config=config), tasks[step.label]), note))
        return cases
    made: dict[str, Job] = {}
    kinds: list[str] = [job] if job is not None else ["sft", "rl", "eval"]
    for kind in kinds:
        plan, tasks, _ = make_plan(Request(task=task, job=kind, config=file, overrides=overrides))
        [step] = plan.steps
        if job is not None or _has(tasks[step.label], kind):
            made[kind] = make_job(step, tasks[step.label])
    if not made:
        raise TaskError(
            "the task has no samples for any job",
            next_step="Implement sft_samples, rl_samples or eval_samples.",
        )
    if job is not None:
        return [Case(job, made[job])]
    meant, note = _meant(made)
    return [Case(kind, made[kind], note if kind == meant[0] else "") for kind in meant]


def _meant(made: Mapping[str, Job]) -> tuple[list[str], str]:
    """Which of these kinds of job the keys of a configuration are for, and why not the others; all where they do not tell."""
    config = next(iter(made.values())).config
    foreign = {kind: _foreign(config, kind) for kind in made}
    if "eval" in made and len(made) > 1 and not foreign["eval"] and "evaluation" in _foreign(config, "sft"):
        return ["eval"], "no training key is set; to check the file as a training, pass --job sft or rl"
    if "sft" not in made or "rl" not in made:
        return list(made), ""
    for kind, other in _PAIRS:
        own, others = ({key for key in foreign[one] if "." in key} for one in (kind, other))
        # What neither takes is a mistake, and is told of both.
        if own - others and not others - own:
            note = f"{min(own - others)} means nothing to {kind}: --job {kind} examines the file as that"
            return [one for one in made if one != kind], note
    return list(made), ""


def _foreign(config: Config, kind: str) -> set[str]:
    """Keys that are set and mean nothing to this kind of job, and those under `trl` that it does not take."""
    from tenyson.config.checks.passthrough import passthrough_problems
    from tenyson.config.checks.relevance import irrelevant_keys
    from tenyson.jobs.runtime.quiet import missing_libraries, quiet_libraries

    if not missing_libraries():
        quiet_libraries()
    problems = [one for one in passthrough_problems(config, kind) if one.severity == "error"]
    return {one.key for one in irrelevant_keys(config, kind)} | {
        one.key for one in problems if one.key.startswith("trl.")
    }


def _before(step: PlannedStep, seen: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], str]:
    """A step's configuration on the model that the steps before it start from: what they train is not there yet."""
    config = standing_in(step.config, step.model_from, step.checkpoint_from, seen)
    note = ""
    if step.model_from is not None:
        note = f"on the model that {step.model_from} starts from, since it has not been trained yet"
    return config, note


def _has(task: TaskPlugin, kind: str) -> bool:
    from tenyson.tasks.plugin import TaskPlugin

    method = f"{kind}_samples"
    return getattr(type(task), method) is not getattr(TaskPlugin, method)
