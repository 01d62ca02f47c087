"""Reopen: steps of a pipeline that is over are asked for again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.pipeline.cache.identity import displaced
from tenyson.pipeline.graph.definition import has_checkpoint
from tenyson.pipeline.journal.lease import take_lease
from tenyson.pipeline.journal.rows import definition_of
from tenyson.plugins.job_kinds import recorded_kind

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import AttemptRecord, StepRecord


def steps_again(journal: Journal, pipeline_id: str, *, all_steps: bool = False) -> list[str]:
    """Labels of the steps that `reopen` lets start again, in order."""
    steps = {step.label: step for step in journal.steps(pipeline_id)}
    attempts = {one.label: one for one in journal.attempts(pipeline_id)}
    again = {
        label
        for label, step in steps.items()
        if step.state == "FAILED" or (all_steps and step.state == "DONE")
    }
    waiting = {label for label, step in steps.items() if step.state == "WAITING_HUMAN"}
    while more := _missing(again | waiting, steps, attempts).difference(again):
        again |= more
    # What depends on a failed step was made of what that left.
    while more := {
        label
        for label, step in steps.items()
        if label not in again and step.state == "DONE" and again.intersection(step.needs)
    }:
        again |= more
    return [label for label in steps if label in again]


def reopen(journal: Journal, pipeline_id: str, *, all_steps: bool = False) -> list[str]:
    """Let failed steps, and those that ran after them, start again; returns their labels.

    A failed step resumes from its latest checkpoint, where there is one. A step whose files are needed and were taken by
    another run starts again from scratch. With `all_steps` those that succeeded
    start again too, and each of them from scratch.

    Raises: PipelineBusyError: a controller drives the pipeline.
    """
    if not steps_again(journal, pipeline_id, all_steps=all_steps):
        return []
    lease = take_lease(journal, pipeline_id)
    try:
        # Of two commands at once, the first one may have done it.
        again = steps_again(journal, pipeline_id, all_steps=all_steps)
        steps = {step.label: step for step in journal.steps(pipeline_id)}
        attempts = {one.label: one for one in journal.attempts(pipeline_id)}
        with journal.entry(pipeline_id, lease.fence) as entry:
            for label in again:
                failed = steps[label].state == "FAILED" and not all_steps
                attempt = attempts.get(label)
                resume = failed and attempt is not None and recorded_kind(attempt.spec.job_type).trains
                resume = resume and attempt is not None and has_checkpoint(attempt.result)
                entry.again(label, resume=resume and attempt is not None and not _is_displaced(attempt))
            if again:
                entry.status("running")
    finally:
        lease.release()
    return again


def _missing(
    again: Collection[str], steps: Mapping[str, StepRecord], attempts: Mapping[str, AttemptRecord]
) -> set[str]:
    """Steps that succeeded, whose files another run has taken since, and which the steps that start again would read."""
    results = {label: one.result for label, one in attempts.items()}
    read = {source for label in again for source in definition_of(steps[label]).sources(results)}
    return {
        label
        for label in read.difference(again)
        if steps[label].state == "DONE" and _is_displaced(attempts[label])
    }


def _is_displaced(attempt: AttemptRecord) -> bool:
    folder = attempt.result.local_output_dir if attempt.result is not None else None
    return folder is not None and displaced(attempt, Path(folder)) is not None
