"""Relocation: a pipeline whose project was moved gets its paths of now; one of a copy becomes a pipeline of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from tenyson.core.run_folder import RunFolder
from tenyson.errors import PipelineError
from tenyson.jobs.result import JobResult
from tenyson.pipeline.control.other_machines import has_ended
from tenyson.pipeline.journal import tables
from tenyson.pipeline.journal.lease import take_lease
from tenyson.pipeline.journal.origin import NONCE
from tenyson.pipeline.journal.project import locate, rebased
from tenyson.pipeline.journal.records import IN_FLIGHT, plain
from tenyson.pipeline.journal.transaction import check_fence
from tenyson.plugins.job_kinds import recorded_kind

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.project import Place
    from tenyson.pipeline.journal.records import AttemptRecord, PipelineRecord


def settle(
    journal: Journal,
    record: PipelineRecord,
    *,
    say: Callable[[str], None],
    stay_with_copy: Callable[[Place], bool] = lambda _: False,
) -> tuple[PipelineRecord, Place]:
    """Find the pipeline's project before anything is done with it, and write down where that is now.

    Args:
        stay_with_copy: whether to continue the pipeline in a copy, independent of the original.

    Raises: PipelineError: this is a copy and must not continue; or the project is not found.
    """
    place = locate(journal, record)
    if place.standing == "copied":
        if not stay_with_copy(place):
            raise PipelineError(
                f"{record.id} was begun in {place.begun}, of which {place.root} is a copy; nothing was started in either",
                next_step=f"Continue there; or here, independently: tenyson attach {record.id} --here",
            )
        say(f"continuing in the copy {place.root}; the original in {place.begun} is not touched")
    elif place.standing == "moved":
        say(f"the project was moved from {place.begun}: continuing in {place.root}")
    else:
        return record, place
    return relocate(journal, record, place), place


def relocate(journal: Journal, record: PipelineRecord, place: Place) -> PipelineRecord:
    """Write down that the project is in `place.root` now, in one transaction; returns the pipeline as it is then.

    Of a copy, attempts in flight belong to the original: they end here, and their steps resume from the copy's checkpoints. It gets
    another nonce, so that no backend takes an attempt of the copy for one of the original.

    Raises:
        PipelineBusyError: a controller drives it.
        PipelineError: it is a copy whose original has a rented machine at work.
    """
    lease = take_lease(journal, record.id)
    try:
        steps = journal.steps(record.id)
        attempts = {(one.label, one.attempt): one for one in journal.attempts(record.id)}
        with journal.transaction() as (connection, now):
            check_fence(connection, record.id, lease.fence)
            _rewrite(connection, record.id, place.begun, place.root)
            changed: dict[str, Any] = {"cwd": str(place.root)}
            if place.standing == "copied":
                changed[NONCE] = token_hex(16)
                for step in steps:
                    if step.state in IN_FLIGHT:
                        attempt = attempts[step.label, step.attempt]
                        _leave_to_the_original(connection, attempt, place, now)
            pipelines = tables.pipelines
            before = connection.execute(
                select(pipelines.c.plan).where(pipelines.c.id == record.id)
            ).scalar_one()
            plan = rebased(before, place.begun, place.root) | changed
            connection.execute(update(pipelines).where(pipelines.c.id == record.id).values(plan=plan))
    finally:
        lease.release()
    found = journal.pipeline(record.id)
    assert found is not None
    return found


def _rewrite(connection: Connection, pipeline_id: str, old: Path, new: Path) -> None:
    for table, keys, columns in (
        (tables.steps, ("label",), ("definition",)),
        (tables.attempts, ("label", "attempt"), ("spec", "handle", "result")),
    ):
        own = table.c.pipeline_id == pipeline_id
        for row in connection.execute(select(table).where(own)).mappings().all():
            before: Mapping[str, Any] = {name: row[name] for name in columns if row[name] is not None}
            after = rebased(dict(before), old, new)
            if after != before:
                one = [table.c[key] == row[key] for key in keys]
                connection.execute(update(table).where(own, *one).values(**after))


def _leave_to_the_original(connection: Connection, attempt: AttemptRecord, place: Place, now: float) -> None:
    """End an attempt here that the original has at work, unless it was over when the project was copied."""
    folder = Path(rebased(str(attempt.spec.folder), place.begun, place.root))
    left = place.root / folder
    handle = attempt.handle
    if handle is not None and handle.backend != "local":
        raise PipelineError(
            f"run {attempt.run_id} is on a rented machine of the project in {place.begun}: this copy cannot continue "
            "it, nor start another run of the same name",
            next_step=f"Continue there: cd {place.begun}. Or start a new pipeline here: tenyson run ... --new",
        )
    if handle is not None and has_ended(left, handle.data.get("job")):
        return
    resume = recorded_kind(attempt.spec.job_type).trains and any(RunFolder(left).checkpoints.glob("*"))
    steps, attempts = tables.steps, tables.attempts
    connection.execute(
        update(steps)
        .where(steps.c.pipeline_id == attempt.pipeline_id, steps.c.label == attempt.label)
        .values(state="PENDING", resume=resume, not_before=None, updated_at=now)
    )
    result = JobResult(
        attempt.run_id, "stopped", 0.0, local_output_dir=str(folder) if left.is_dir() else None,
        failure_reason=f"left to the project in {place.begun}, of which this one is a copy",
    )  # fmt: skip
    connection.execute(
        update(attempts)
        .where(
            attempts.c.pipeline_id == attempt.pipeline_id, attempts.c.label == attempt.label,
            attempts.c.attempt == attempt.attempt,
        )
        .values(state="STOPPED", result=plain(result), handle=None, ended_at=now)
    )  # fmt: skip
