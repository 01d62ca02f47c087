"""A lease: the right to drive one pipeline, with a fence that tells every write of an earlier holder from a later one's."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tenyson.cloud.local.host import relation, this_host
from tenyson.cloud.local.process import is_alive, start_mark
from tenyson.core.stdio import say
from tenyson.errors import (
    DamagedRowError,
    JournalAwayError,
    LeaseLostError,
    PipelineBusyError,
    PipelineError,
)
from tenyson.pipeline.journal.database import LEASE_SECONDS, lease_seconds

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal


class Lease:
    """Held from `acquire` to `release`; while it is entered, a thread renews it.

    A holder that was silent for too long keeps its place until another one comes: the fence decides, not the time.
    """

    def __init__(self, journal: Journal, pipeline_id: str, fence: int, seconds: float) -> None:
        self.pipeline_id = pipeline_id
        self.fence = fence
        self.lost: LeaseLostError | None = None
        """Set once another controller has come."""
        self._journal = journal
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @classmethod
    def acquire(
        cls,
        journal: Journal,
        pipeline_id: str,
        *,
        seconds: float = LEASE_SECONDS,
        holder: Mapping[str, Any] | None = None,
    ) -> Lease:
        """Take the lease if it is free, has run out, or belonged to a process of this machine that is gone.

        Raises:
            PipelineBusyError: another controller holds it.
            PipelineError: there is no such pipeline.
        """
        from sqlalchemy import select, update

        from tenyson.pipeline.journal.rows import MAX_LEASE_SECONDS, pipeline_record
        from tenyson.pipeline.journal.tables import pipelines

        with journal.transaction() as (connection, now):
            query = select(pipelines).where(pipelines.c.id == pipeline_id).with_for_update()
            found = connection.execute(query).mappings().first()
            if found is None:
                raise PipelineError(f"there is no pipeline {pipeline_id!r}")
            row = pipeline_record(found)
            if row.lease_until is not None and row.lease_until > now + MAX_LEASE_SECONDS:
                raise DamagedRowError(
                    f"the journal has a damaged row: pipelines, pipeline {pipeline_id!r}: lease_until: "
                    f"{row.lease_until:.0f} is more than two days from now",
                    next_step="Once no controller is at work, set it to null by SQL.",
                )
            if row.lease_until is not None and row.lease_until > now and not is_gone(row.holder):
                assert row.holder is not None
                raise PipelineBusyError(
                    f"the pipeline {pipeline_id} is driven by process {row.holder['pid']} on {row.holder['host']}; "
                    f"its lease runs out in {row.lease_until - now:.0f} s unless it is renewed",
                    next_step="End that process first, or let it work: `tenyson pipelines` shows its state.",
                )
            fence = row.fence + 1
            connection.execute(
                update(pipelines)
                .where(pipelines.c.id == pipeline_id, pipelines.c.fence == row.fence)
                .values(fence=fence, holder=dict(holder or this_process()), lease_until=now + seconds)
            )
        return cls(journal, pipeline_id, fence, seconds)

    def renew(self) -> None:
        """Hold it for longer. Raises: LeaseLostError: another controller has come."""
        from sqlalchemy import update

        from tenyson.pipeline.journal.tables import pipelines
        from tenyson.pipeline.journal.transaction import check_fence

        with self._journal.transaction() as (connection, now):
            check_fence(connection, self.pipeline_id, self.fence)
            connection.execute(
                update(pipelines)
                .where(pipelines.c.id == self.pipeline_id)
                .values(lease_until=now + self._seconds)
            )

    def release(self) -> None:
        """Let another controller take it at once; nothing happens where one has come already.

        The fence moves on, so that whoever still holds this lease by mistake writes nothing more.
        """
        from sqlalchemy import update

        from tenyson.pipeline.journal.tables import pipelines

        with self._journal.transaction() as (connection, _):
            connection.execute(
                update(pipelines)
                .where(pipelines.c.id == self.pipeline_id, pipelines.c.fence == self.fence)
                .values(lease_until=None, holder=None, fence=self.fence + 1)
            )

    def check(self) -> None:
        """Raises: LeaseLostError: the thread found that another controller has come."""
        if self.lost is not None:
            raise self.lost

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self.lost is None:
            self.release()

    def _keep(self) -> None:
        told = False
        while not self._over.wait(self._seconds / 3):
            try:
                self.renew()
                told = False
            except LeaseLostError as error:
                self.lost = error
                return
            except JournalAwayError as error:
                # The database is away: nobody can take the pipeline over either.
                if not told:
                    say(f"warning: the lease could not be renewed: {error}")
                told = True


def this_process() -> dict[str, Any]:
    """Who holds a lease: the host, the pid, and the start of the process, since pids come again."""
    return {**this_host(), "pid": os.getpid(), "mark": start_mark(os.getpid())}


def is_gone(holder: Mapping[str, Any] | None) -> bool:
    """Whether a holder is surely no more: a process of this boot of this machine that has ended.

    Of any other nothing is sure but that it stops renewing its lease.
    """
    if holder is None:
        return True
    here = relation(holder) == "here"
    return here and holder.get("mark") is not None and not is_alive(int(holder["pid"]), str(holder["mark"]))


def take_lease(journal: Journal, pipeline_id: str) -> Lease:
    """Take the lease; one that is not renewed any more is waited for.

    Raises: PipelineBusyError: its holder is alive and renews it.
    """
    seconds = lease_seconds()
    told, first = False, None
    while True:
        try:
            return Lease.acquire(journal, pipeline_id, seconds=seconds)
        except PipelineBusyError:
            record = journal.pipeline(pipeline_id)
            if record is None:
                raise PipelineError(f"there is no pipeline {pipeline_id!r}") from None
            first = first if first is not None else record.lease_until
            if record.lease_until is None:
                continue
            if record.lease_until != first:
                raise
            if not told:
                told = True
                left = record.lease_until - journal.now()
                say(
                    f"another controller holds {pipeline_id}; it may be gone: waiting up to {left:.0f} s to see"
                )
            time.sleep(0.2)
