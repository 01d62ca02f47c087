"""Reopen: steps of a pipeline that is over are asked for again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenyson.pipeline.definition import has_checkpoint
from tenyson.pipeline.drive import acquire

if TYPE_CHECKING:
    from tenyson.pipeline.journal import Journal


def reopen(journal: Journal, pipeline_id: str, *, all_steps: bool = False) -> list[str]:
    """Let failed steps, and those that ran after them, start again; returns their labels.

    A failed step goes on from its latest checkpoint, where there is one. With `all_steps` those that ended well
    start again too, and each of them from scratch.

    Raises: PipelineBusyError: a controller drives the pipeline.
    """
    steps = {step.label: step for step in journal.steps(pipeline_id)}
    attempts = {one.label: one for one in journal.attempts(pipeline_id)}
    again = {
        label
        for label, step in steps.items()
        if step.state == "FAILED" or (all_steps and step.state == "DONE")
    }
    # What stands on a failed step was made of what that left.
    while more := {
        label
        for label, step in steps.items()
        if label not in again and step.state == "DONE" and again.intersection(step.definition["needs"])
    }:
        again |= more
    if not again:
        return []
    lease = acquire(journal, pipeline_id)
    try:
        with journal.entry(pipeline_id, lease.fence) as entry:
            for label in again:
                failed = steps[label].state == "FAILED" and not all_steps
                attempt = attempts.get(label)
                resume = failed and attempt is not None and attempt.spec.job_type != "eval"
                entry.again(label, resume=resume and has_checkpoint(attempt.result if attempt else None))
            entry.status("running")
    finally:
        lease.release()
    return [label for label in steps if label in again]
