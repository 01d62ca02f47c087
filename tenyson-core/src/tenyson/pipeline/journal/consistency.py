"""Consistency: the rows of a pipeline fit each other. Checked before it is driven, so that no controller waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenyson.errors import ConfigError, DamagedRowError
from tenyson.pipeline.graph.definition import Definition, check_order
from tenyson.pipeline.journal.rows import definition_of

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal


def require_whole(journal: Journal, pipeline_id: str) -> dict[str, Definition]:
    """The definitions of a pipeline's steps, by label. Raises: DamagedRowError: rows are missing, or fit no other."""
    steps = journal.steps(pipeline_id)
    definitions = {step.label: definition_of(step) for step in steps}
    found = list(misfits(journal, pipeline_id))
    try:
        check_order(definitions.values())
    except ConfigError as error:
        found.append(f"pipeline_steps, pipeline {pipeline_id!r}: {error}")
    if found:
        raise DamagedRowError(
            f"the journal has damaged rows: {'; '.join(found[:3])}",
            next_step="Restore the database from a backup, or correct these rows by SQL. Jobs that run do not need it.",
        )
    return definitions


def misfits(journal: Journal, pipeline_id: str) -> Iterator[str]:
    """What does not fit: a step without the row of its attempt or its question, and rows of steps that it does not have."""
    steps = {step.label: step for step in journal.steps(pipeline_id)}
    attempts = {(one.label, one.attempt): one for one in journal.attempts(pipeline_id)}
    questions = journal.decisions(pipeline_id)
    for label, number in attempts:
        if label not in steps:
            yield f"pipeline_attempts, step {label!r}, attempt {number}: {pipeline_id} has no such step"
    for one in questions:
        if one.label not in steps:
            yield f"pipeline_decisions, id {one.id}, step {one.label!r}: {pipeline_id} has no such step"
    asked = {one.label for one in questions}
    for label, step in steps.items():
        if step.state == "PENDING":
            continue
        place = f"pipeline_steps, step {label!r} is {step.state}"
        attempt = attempts.get((label, step.attempt))
        if attempt is None:
            yield f"{place}, and pipeline_attempts has no attempt {step.attempt} of it"
        elif step.state in ("LAUNCHED", "RUNNING") and attempt.handle is None:
            yield f"{place}, and its attempt {step.attempt} has no handle"
        elif step.state in ("DONE", "WAITING_HUMAN") and attempt.result is None:
            yield f"{place}, and its attempt {step.attempt} has no result"
        if step.state == "WAITING_HUMAN" and label not in asked:
            yield f"{place}, and pipeline_decisions has no question about it"
