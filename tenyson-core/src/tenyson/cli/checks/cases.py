"""What `tenyson doctor` examines: the jobs that a file asks for, each as it can be looked at before any has run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli.pipelines.request import Request, make_plan
from tenyson.errors import TaskError
from tenyson.pipeline.control.preflight import standing_in
from tenyson.plugins.job_kinds import JOB_KINDS, job_kind

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.job import Job
    from tenyson.pipeline.graph.plan import PlannedStep
    from tenyson.tasks.plugin import TaskPlugin


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
    from tenyson.pipeline.graph.define import make_job

    if is_experiment(read_document(file)):
        if job is not None:
            raise click.UsageError(f"{file} is an experiment with jobs of its own: leave out --job")
        plan, tasks, _ = make_plan(Request(file=file, task=task, overrides=overrides))
        cases, seen = [], dict[str, Mapping[str, Any]]()
        for step in plan.steps:
            config, note = _before(step, seen)
            seen[step.label] = config
            cases.append(
                Case(step.label, make_job(replace(step, config=config, parsed=None), tasks[step.label]), note)
            )
        return cases
    made: dict[str, Job] = {}
    kinds = [job] if job is not None else list(JOB_KINDS)
    for kind in kinds:
        plan, tasks, _ = make_plan(Request(task=task, job=kind, config=file, overrides=overrides))
        [step] = plan.steps
        if job is not None or _has(tasks[step.label], kind):
            made[kind] = make_job(step, tasks[step.label])
    if not made:
        raise TaskError(
            "the task has no samples for any job",
            next_step=f"Implement {' or '.join(kind.samples for kind in JOB_KINDS.values() if kind.samples)}.",
        )
    if job is not None:
        return [Case(job, made[job])]
    meant, note = _meant(made)
    return [Case(kind, made[kind], note if kind == meant[0] else "") for kind in meant]


def _meant(made: Mapping[str, Job]) -> tuple[list[str], str]:
    """Which of these kinds of job the keys of a configuration are for, and why not the others; all where they do not tell."""
    config = next(iter(made.values())).config
    foreign = {kind: _foreign(config, kind) for kind in made}
    trainings = [kind for kind in made if JOB_KINDS[kind].trains]
    measuring = [kind for kind in made if kind not in trainings]
    if trainings and measuring and not any(foreign[kind] for kind in measuring) and _sets_evaluation(config):
        names = " or ".join(trainings)
        note = f"no training key is set; to check the file as a training, pass --job {names}"
        return measuring, note
    notes: dict[str, str] = {}
    for kind, other in itertools.permutations(trainings, 2):
        own, others = ({key for key in foreign[one] if "." in key} for one in (kind, other))
        # What neither takes is a mistake, and is told of both.
        if own - others and not others - own:
            note = f"{min(own - others)} means nothing to {kind}: --job {kind} examines the file as that"
            notes.setdefault(kind, note)
    return [kind for kind in made if kind not in notes], "; ".join(notes.values())


def _sets_evaluation(config: Config) -> bool:
    return config.evaluation != type(config.evaluation)()


def _foreign(config: Config, name: str) -> set[str]:
    """Keys that are set and mean nothing to this kind of job, and those under `trl` that it does not take."""
    from tenyson.config.checks.passthrough import passthrough_problems
    from tenyson.config.checks.relevance import irrelevant_keys
    from tenyson.jobs.runtime.quiet import missing_libraries, quiet_libraries

    if not missing_libraries():
        quiet_libraries()
    kind = job_kind(name)
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


def _has(task: TaskPlugin, name: str) -> bool:
    """Whether the task serves this kind of job: the base class has a method of that name only to refuse."""
    from tenyson.tasks.plugin import TaskPlugin

    method = job_kind(name).samples
    own = getattr(type(task), method, None)
    return own is not None and own is not getattr(TaskPlugin, method, None)
