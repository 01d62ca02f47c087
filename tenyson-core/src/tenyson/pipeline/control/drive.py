"""Drive: one controller at work on one pipeline of the journal, from taking the lease to letting go of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from tenyson.core.stdio import say
from tenyson.errors import JournalAwayError, PipelineBusyError, PipelineError
from tenyson.pipeline.control.launcher import Launcher
from tenyson.pipeline.graph.policy import FailurePolicy
from tenyson.pipeline.journal.decision import Ask, ask_terminal
from tenyson.pipeline.notify.notifier import Notifier
from tenyson.pipeline.result import PipelineResult

if TYPE_CHECKING:
    from tenyson.pipeline.cache.inputs import Reuse
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.lease import Lease


def drive(
    journal: Journal,
    pipeline_id: str,
    launcher: Launcher,
    *,
    policy: FailurePolicy,
    notifier: Notifier,
    ask: Ask | None = None,
    max_parallel: int = 1,
    reuse: Reuse | None = None,
    on_tick: Callable[[], None] | None = None,
    grace_seconds: float | None = None,
    gone: Collection[str] = (),
) -> PipelineResult:
    """Bring a pipeline as far as it goes.

    Raises:
        PipelineBusyError: another controller drives it.
        LeaseLostError: another controller has taken it over; the jobs go on.
    """
    from tenyson.pipeline.control.controller import JOURNAL_SECONDS, Controller
    from tenyson.pipeline.notify.outbox import Postman

    with acquire(journal, pipeline_id) as lease, Postman(journal, pipeline_id, notifier.channels) as postman:
        while True:
            try:
                controller = Controller(
                    journal,
                    lease,
                    launcher,
                    policy=policy,
                    notifier=notifier,
                    postman=postman,
                    ask=ask or ask_terminal,
                    max_parallel=max_parallel,
                    reuse=reuse,
                    on_tick=on_tick,
                    grace_seconds=grace_seconds,
                    gone=gone,
                )
                break
            except JournalAwayError as error:
                # It was there for the lease: it is waited for, as later on.
                launcher.say(f"the journal cannot be reached: {error.cause}")
                time.sleep(JOURNAL_SECONDS)
                lease.check()
        return controller.run()


def acquire(journal: Journal, pipeline_id: str) -> Lease:
    """Take the lease; one that is not renewed any more is waited for.

    Raises: PipelineBusyError: its holder is alive and renews it.
    """
    from tenyson.pipeline.journal.database import lease_seconds
    from tenyson.pipeline.journal.lease import Lease

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
