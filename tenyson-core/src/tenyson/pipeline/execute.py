"""Runs a plan: writes it into the journal, drives it, and keeps the report up to date."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.cloud.watch.interrupts import outliving_the_terminal
from tenyson.core.stdio import say
from tenyson.errors import PipelineError, TenysonError
from tenyson.jobs.kinds import job_class
from tenyson.pipeline.cache.inputs import Reuse
from tenyson.pipeline.cache.spec_diff import beyond, changes, refusal, sources_of, that_matter
from tenyson.pipeline.control.drive import acquire, drive
from tenyson.pipeline.control.folder_lock import folder_lock
from tenyson.pipeline.control.launcher import BackendLauncher
from tenyson.pipeline.graph.definition import Definition, check_order
from tenyson.pipeline.graph.plan import Plan, PlannedStep
from tenyson.pipeline.graph.policy import FailurePolicy
from tenyson.pipeline.journal.decision import Ask
from tenyson.pipeline.journal.names import require_free
from tenyson.pipeline.journal.project import here
from tenyson.pipeline.journal.records import IN_FLIGHT
from tenyson.pipeline.journal.rows import definition_of
from tenyson.pipeline.notify.notifier import Notifier
from tenyson.pipeline.result import PipelineResult
from tenyson.pipeline.run import fingerprint
from tenyson.tasks.plugin import TaskPlugin

if TYPE_CHECKING:
    from tenyson.cloud.backend import Backend
    from tenyson.cloud.watch.follow import Follower
    from tenyson.jobs.job import Job
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import PipelineRecord

REPORT_SECONDS = 20.0
"""At least so long between two reports of a pipeline that still runs."""


@dataclass(frozen=True)
class Execution:
    """What running a plan gave."""

    result: PipelineResult
    report: Path | None
    """The report; None where there was nothing to report on, or it could not be written."""


def make_job(planned: PlannedStep, task: TaskPlugin) -> Job:
    """The job of a step, which checks its configuration and the task's arguments. Raises: ConfigError, TaskError."""
    from tenyson.tasks.load import build_task

    return job_class(planned.job)(planned.config, build_task(type(task), planned.config["task"]["args"]))


def define_plan(plan: Plan, tasks: Mapping[str, TaskPlugin]) -> list[Definition]:
    """What the journal keeps of a plan's steps; `tasks` by label. Raises: ConfigError, TaskError."""
    definitions = [
        Definition(
            step.label,
            make_job(step, tasks[step.label]).spec(),
            step.needs,
            step.model_from,
            step.checkpoint_from,
            step.late,
        )
        for step in plan.steps
    ]
    check_order(definitions)
    return definitions


def plan_fingerprint(plan: Plan) -> str:
    """SHA-256 of what a plan asks for, its own name aside."""
    import json

    text = json.dumps([vars(step) for step in plan.steps], sort_keys=True, default=str)
    return fingerprint(text.replace(plan.id, "PIPELINE"))


def register(
    journal: Journal,
    plan: Plan,
    definitions: list[Definition],
    about: Mapping[str, Any],
    *,
    change: bool = False,
    overridden: Collection[str] = (),
    again: Collection[str] = (),
    unless: Callable[[PipelineRecord], bool] = lambda _: False,
) -> PipelineRecord:
    """The plan's row in the journal, made where it is new.

    Args:
        about: what another controller needs besides: backend, policy, and the like.
        change: whether steps that are still to run may get the settings of now.
        overridden: keys that are set for all steps alike; with `change`, steps that are done keep what they had.
        again: labels of steps that are over and are about to be run again.
        unless: whether an unfinished pipeline that asks for the same is taken instead of a new one (`Journal.create`).

    Raises:
        ConfigError: the journal has a pipeline of that name that asks for something else.
        PipelineError: a name is another pipeline's, or that of a run of another pipeline.
        PipelineBusyError: it is to be changed, and a controller drives it.
    """
    record = journal.pipeline(plan.id)
    if record is None:
        require_free(journal, plan.id, definitions, "--run-id")
        whole = {**here(journal), "title": plan.title, "output_dir": str(plan.output_dir), **about}
        whole |= {"max_parallel": plan.max_parallel, "sources": sources_of(definitions)}
        steps = {one.label: one.to_json() for one in definitions}
        try:
            name = journal.create(plan.id, plan.title, plan_fingerprint(plan), whole, steps, unless=unless)
        except PipelineError:
            # The same command at the same moment was quicker; what it asks for is compared as ever.
            if (record := journal.pipeline(plan.id)) is None:
                raise
        else:
            created = journal.pipeline(name)
            assert created is not None
            return created
    now = {one.label: one for one in definitions}
    changed, told = _changes(journal, plan.id, now, change=change, overridden=overridden, again=again)
    if changed:
        lease = acquire(journal, plan.id)
        try:
            # A controller that has just left may have gone further.
            changed, told = _changes(journal, plan.id, now, change=change, overridden=overridden, again=again)
            with journal.entry(plan.id, lease.fence) as entry:
                for label in changed:
                    entry.redefine(label, now[label].to_json())
        finally:
            lease.release()
    if told:
        say(told)
    return record


def _changes(
    journal: Journal,
    pipeline_id: str,
    now: Mapping[str, Definition],
    *,
    change: bool,
    overridden: Collection[str],
    again: Collection[str],
) -> tuple[list[str], str]:
    """Steps that get other settings, and what is to be said of those that keep theirs.

    Raises: ConfigError: one that is done, or at work, would have to get others.
    """
    steps = {step.label: step for step in journal.steps(pipeline_id)}
    before = {label: definition_of(step) for label, step in steps.items()}
    changed = changes(before, now)
    to_run = [
        label for label, step in steps.items() if label in again or step.state not in {"DONE", *IN_FLIGHT}
    ]
    editable = [label for label in changed if change and label in now and label in to_run]
    fixed = {label: differing for label, differing in changed.items() if label not in editable}
    kept: list[str] = []
    if change and to_run:
        # What is done answers what was asked then: `--set` holds for the steps that are still to run.
        done = [label for label in fixed if label in now and label in steps and steps[label].state == "DONE"]
        fixed = {
            label: differing
            for label, every in fixed.items()
            if (differing := beyond(every, overridden) if label in done else every) or label not in done
        }
        kept = [label for label in done if label not in fixed]
    if fixed := that_matter(fixed, before):
        raise refusal(pipeline_id, fixed, before, "--run-id")
    told = (
        f"{', '.join(kept)}: done, with the settings of then; --set holds for {', '.join(to_run)}"
        if kept
        else ""
    )
    return editable, told


def execute(
    journal: Journal,
    pipeline_id: str,
    backend: Backend,
    follower: Follower,
    *,
    policy: FailurePolicy,
    ask: Ask | None = None,
    grace_seconds: float | None = None,
    gone: Collection[str] = (),
) -> Execution:
    """Drive a pipeline of the journal and keep <output_dir>/<pipeline>/report.md and report.html up to date.

    Raises:
        PipelineBusyError, LeaseLostError: another controller drives it.
    """
    record = journal.pipeline(pipeline_id)
    if record is None:
        raise PipelineError(f"there is no pipeline {pipeline_id!r}")
    directory = Path(record.plan.get("output_dir", "./outputs")) / pipeline_id
    reporter = Reporter(journal, pipeline_id)
    with outliving_the_terminal(), folder_lock(journal, record, directory):
        result = drive(
            journal,
            pipeline_id,
            BackendLauncher(backend, follower, policy),
            policy=policy,
            notifier=Notifier.make(directory / "failures.log"),
            ask=ask,
            max_parallel=int(record.plan.get("max_parallel", 1)),
            reuse=Reuse(journal, anew=record.plan.get("anew", ()), required=record.plan.get("required", ())),
            on_tick=reporter.update,
            grace_seconds=grace_seconds,
            gone=gone,
        )
        return Execution(result, reporter.write())


class Reporter:
    """Writes a pipeline's report now and then while it runs, and once more at its end."""

    def __init__(self, journal: Journal, pipeline_id: str) -> None:
        self._journal = journal
        self._pipeline = pipeline_id
        self._next = 0.0

    def update(self) -> None:
        """Write it, unless that was done a moment ago. What is missing while jobs run is no trouble."""
        begun = time.monotonic()
        if begun >= self._next:
            self.write(quiet=True)
            ended = time.monotonic()
            # Large records take long to read: the jobs are looked at in between.
            self._next = ended + max(REPORT_SECONDS, 20 * (ended - begun))

    def write(self, *, quiet: bool = False) -> Path | None:
        """One that cannot be written is a warning: the runs are what counts."""
        from tenyson.pipeline.report import write_pipeline_report

        try:
            return write_pipeline_report(self._journal, self._pipeline)
        except Exception as error:  # of whatever a job or somebody's code has left there
            if not quiet:
                kind = "" if isinstance(error, (TenysonError, OSError)) else f"{type(error).__name__}: "
                say(f"warning: the report could not be written: {kind}{error}")
            return None
