"""The report of a pipeline as its journal has it, at any moment of its life."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.errors import PipelineError, ReportError, TenysonError
from tenyson.jobs.result import JobResult
from tenyson.pipeline.cache.identity import displaced, own_result
from tenyson.pipeline.journal.project import Place, locate, rebased
from tenyson.pipeline.journal.records import AttemptRecord
from tenyson.pipeline.journal.rows import definition_of
from tenyson.reporting.history import AttemptHistory, DecisionHistory, StepHistory
from tenyson.reporting.pipeline import write_report
from tenyson.tasks.plugin import TaskPlugin

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal


def write_pipeline_report(
    journal: Journal,
    pipeline_id: str,
    *,
    template: str | Path | None = None,
    directory: str | Path | None = None,
) -> Path:
    """Write report.md and report.html into the pipeline's folder, or another one.

    Raises:
        PipelineError: there is no such pipeline.
        ReportError: a number that a successful step should have left is missing.
    """
    record = journal.pipeline(pipeline_id)
    if record is None:
        raise PipelineError(f"there is no pipeline {pipeline_id!r}")
    place = locate(journal, record)
    steps, now = journal.steps(pipeline_id), journal.now()
    attempts = [_located(one, place) for one in journal.attempts(pipeline_id)]
    decisions = journal.decisions(pipeline_id)
    history, stages, running = [], [], []
    lost: list[str] = []
    for step in steps:
        own = [one for one in attempts if one.label == step.label]
        last = own[-1] if own else None
        history.append(
            StepHistory(
                step.label,
                definition_of(step).spec.job_type,
                step.state,
                last.run_id if last else step.run_id,
                step.needs,
                [_attempt(one, now) for one in own],
                [
                    DecisionHistory(
                        one.answer,
                        one.answered_by or "SQL",
                        max(0.0, (one.answered_at or now) - one.asked_at),
                    )
                    for one in decisions
                    if one.label == step.label and one.answer is not None
                ],
                last.reused_from if last else None,
            )
        )
        if last is None:
            continue
        if (result := own_result(last)) is not None:
            if result.status == "success" and result.local_output_dir is None:
                lost += [why] if (why := _why_lost(last)) else []
            stages.append((step.label, last.spec.job_type, result))
        elif last.handle is not None:
            folder = str(last.spec.folder)
            # A result that the report shows as `running`: JobResult itself knows only ends.
            unfinished = JobResult(last.run_id, "stopped", now - last.started_at, local_output_dir=folder)
            stages.append((step.label, last.spec.job_type, unfinished))
            running.append(step.label)
    if lost:
        raise ReportError(
            f"missing: {'; '.join(lost)}",
            next_step=f"Run what is missing again: `tenyson run FILE --no-reuse` makes all of {pipeline_id} as a new pipeline.",
        )
    where = (
        Path(directory)
        if directory is not None
        else Path(rebased(str(record.request.output_dir), place.begun, place.root)) / pipeline_id
    )
    return write_report(
        record.title, stages, where, _task([one.spec.task for one in attempts]), template=template, history=history,
        running=running,
    )  # fmt: skip


def _why_lost(attempt: AttemptRecord) -> str | None:
    """Why the files of a step that is done cannot be read; None where it never had any."""
    if attempt.result is None or attempt.result.local_output_dir is None:
        return None
    folder = Path(attempt.result.local_output_dir)
    return f"the files of {attempt.label} in {folder}: {displaced(attempt, folder) or 'the folder is gone'}"


def _located(attempt: AttemptRecord, place: Place) -> AttemptRecord:
    """With its paths where the project is now: a report of a copy reads and writes nothing in the original."""
    if place.root == place.begun:
        return attempt
    spec, result = attempt.spec, attempt.result
    if result is not None:
        folder = rebased(result.local_output_dir, place.begun, place.root)
        result = replace(result, local_output_dir=folder)
    config = rebased(dict(spec.config), place.begun, place.root)
    return replace(attempt, spec=replace(spec, config=config), result=result)


def _attempt(attempt: AttemptRecord, now: float) -> AttemptHistory:
    per_hour = attempt.handle.data.get("per_hour", 0.0) if attempt.handle else 0.0
    reason = attempt.result.failure_reason if attempt.result else None
    seconds = max(0.0, (attempt.ended_at or now) - attempt.started_at)
    return AttemptHistory(
        attempt.attempt, attempt.state, seconds, per_hour, (reason or "").splitlines()[0] if reason else ""
    )


def _task(specs: list[str]) -> TaskPlugin | None:
    """The task whose sections the report gets: that of the steps, where it can be loaded here."""
    from tenyson.tasks.load import build_task, load_task_class

    for spec in dict.fromkeys(specs):
        try:
            return build_task(load_task_class(spec), {})
        except TenysonError:
            continue
    return None
