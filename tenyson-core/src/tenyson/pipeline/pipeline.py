"""Pipeline: the one way to a pipeline of the journal, for scripts and for the command line: open or register it, then drive it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tenyson.cloud.watch.interrupts import outliving_the_terminal
from tenyson.core.stdio import say as say_on_stderr
from tenyson.errors import JournalAwayError, PipelineError
from tenyson.pipeline.cache.inputs import Reuse
from tenyson.pipeline.cache.spec_diff import edited_tasks
from tenyson.pipeline.control.folder_lock import folder_lock
from tenyson.pipeline.control.other_machines import Elsewhere, elsewhere, require_here
from tenyson.pipeline.control.registration import Submission, create, update
from tenyson.pipeline.control.reopen import reopen, steps_again
from tenyson.pipeline.control.session import Session
from tenyson.pipeline.journal.consistency import require_whole
from tenyson.pipeline.journal.fingerprint import asks_for, is_ours, unfinished
from tenyson.pipeline.journal.lease import take_lease
from tenyson.pipeline.notify.notifier import Notifier
from tenyson.pipeline.reporter import Reporter

if TYPE_CHECKING:
    from tenyson.pipeline.control.launcher import Launcher
    from tenyson.pipeline.journal.decision import Ask
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.project import Place
    from tenyson.pipeline.journal.records import PipelineRecord
    from tenyson.pipeline.request import PipelineRequest
    from tenyson.pipeline.result import PipelineResult

Say = Callable[[str], None]
Stay = Callable[["Place"], bool]
"""Whether a pipeline continues in a copy of its project, apart from the original."""


class Pipeline:
    """One pipeline of a journal, in its project's folder of now."""

    def __init__(self, journal: Journal, record: PipelineRecord, root: Path, *, is_new: bool = False) -> None:
        self.journal = journal
        self.record = record
        self.root = root
        """The project's folder, to which the pipeline's paths are relative."""
        self.is_new = is_new
        """Whether it was registered just now."""

    @property
    def id(self) -> str:
        """Its name in the journal."""
        return self.record.id

    @property
    def request(self) -> PipelineRequest:
        """What was asked when it was begun."""
        return self.record.request

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to run, unless steps are asked for again."""
        return self.record.status in ("success", "failed")

    # How it is found

    @classmethod
    def open(
        cls,
        journal: Journal,
        pipeline_id: str,
        *,
        say: Say = say_on_stderr,
        stay_with_copy: Stay = lambda _: False,
    ) -> Self:
        """A pipeline that the journal has. If its project was moved, the journal gets its paths of now.

        Raises: PipelineError: there is none of that name; its project is a copy, and is not to continue; or it is not found.
        """
        from tenyson.pipeline.control.relocation import settle

        record = journal.pipeline(pipeline_id)
        if record is None:
            raise PipelineError(f"there is no pipeline {pipeline_id!r}")
        record, place = settle(journal, record, say=say, stay_with_copy=stay_with_copy)
        return cls(journal, record, place.root)

    @staticmethod
    def name_of_unfinished(journal: Journal, asked: Submission) -> str | None:
        """The newest pipeline of this project that asks for the same steps and is not over; None where there is none."""
        found = unfinished(journal, asked.fingerprint)
        return None if found is None else found.id

    @classmethod
    def register(
        cls,
        journal: Journal,
        asked: Submission,
        *,
        share: bool = False,
        change: bool = False,
        overridden: Collection[str] = (),
        again: Collection[str] = (),
        before_new: Callable[[], None] = lambda: None,
        say: Say = say_on_stderr,
        stay_with_copy: Stay = lambda _: False,
    ) -> Self:
        """The pipeline of that name, written down where it is new, and compared with what is asked for where it is not.

        Args:
            share: take an unfinished pipeline of this project that asks for the same instead of a new one. Of two commands at
                once, the second finds the first one's.
            change, overridden, again: see `tenyson.pipeline.control.registration.update`.
            before_new: what is checked before a new pipeline is written down.

        Raises:
            ConfigError: the journal has a pipeline of that name that asks for something else.
            PipelineError: a name is taken, or the project cannot be used (`open`).
            PipelineBusyError: it is to be changed, and a controller drives it.
        """
        mark = asked.fingerprint

        def is_same(found: PipelineRecord) -> bool:
            same = found.request.selection == asked.request.selection
            return share and same and asks_for(journal, found, mark) and is_ours(journal, found)

        if journal.pipeline(asked.id) is None:
            before_new()
            name = create(journal, asked, is_same)
            if name == asked.id:
                return cls(journal, _record(journal, name), Path.cwd(), is_new=True)
            if name is not None:
                return cls.open(journal, name, say=say, stay_with_copy=stay_with_copy)
        pipeline = cls.open(journal, asked.id, say=say, stay_with_copy=stay_with_copy)
        update(journal, asked, change=change, overridden=overridden, again=again)
        return pipeline

    # What is asked before it runs

    def edited_tasks(self) -> list[str]:
        """Tasks whose code is not that of when the pipeline was begun. Raises: DamagedRowError."""
        return edited_tasks(self.record, require_whole(self.journal, self.id).values())

    def require_here(self) -> None:
        """Raises: PipelineError: a job of it runs on another machine, whose end cannot be seen from here."""
        require_here(self.journal, self.record)

    def jobs_elsewhere(self) -> list[Elsewhere]:
        """Its jobs whose processes run on another machine."""
        return elsewhere(self.journal, self.record)

    def steps_again(self, *, all_steps: bool = False) -> list[str]:
        """Labels of the steps that `reopen` lets start again, in order."""
        return steps_again(self.journal, self.id, all_steps=all_steps)

    def reopen(self, *, all_steps: bool = False) -> list[str]:
        """Let steps that failed, or all, start again; returns their labels. Raises: PipelineBusyError."""
        again = reopen(self.journal, self.id, all_steps=all_steps)
        self.record = _record(self.journal, self.id)
        return again

    # How it runs

    def drive(
        self, launcher: Launcher, session: Session | None = None, *, request: PipelineRequest | None = None
    ) -> PipelineResult:
        """Bring the pipeline as far as it goes; `request` takes precedence over that of the journal.

        Raises:
            PipelineBusyError: another controller drives it.
            LeaseLostError: another controller has taken it over; the jobs keep running.
        """
        from tenyson.pipeline.control.controller import JOURNAL_SECONDS, Controller
        from tenyson.pipeline.notify.outbox import Dispatcher

        session, request = session or Session(), request or self.request
        with (
            take_lease(self.journal, self.id) as lease,
            Dispatcher(self.journal, self.id, session.notifier.channels) as dispatcher,
        ):
            while True:
                try:
                    controller = Controller(self.journal, lease, launcher, dispatcher, request, session)
                    break
                except JournalAwayError as error:
                    # It was there for the lease: it is waited for, as later on.
                    launcher.say(f"the journal cannot be reached: {error.cause}")
                    time.sleep(JOURNAL_SECONDS)
                    lease.check()
            return controller.run()

    def drive_with_report(
        self,
        launcher: Launcher,
        *,
        request: PipelineRequest | None = None,
        ask: Ask | None = None,
        grace_seconds: float | None = None,
        gone: Collection[str] = (),
    ) -> PipelineResult:
        """Drive it with a folder of its own: earlier results are reused, failures are logged, and the report is kept up to date.

        The folder is <output_dir>/<pipeline>.

        Raises:
            PipelineBusyError: another controller drives it, or another pipeline of this name works in that folder.
            LeaseLostError: another controller has taken it over; the jobs keep running.
        """
        asked = request or self.request
        directory = asked.output_dir / self.id
        reporter = Reporter(self.journal, self.id)
        session = Session(
            notifier=Notifier.make(directory / "failures.log"),
            reuse=Reuse(self.journal, anew=asked.rerun, required=asked.required),
            on_tick=reporter.update,
            grace_seconds=grace_seconds,
            gone=gone,
        )
        if ask is not None:
            session = replace(session, ask=ask)
        with outliving_the_terminal(), folder_lock(self.journal, self.record, directory):
            result = self.drive(launcher, session, request=asked)
            return replace(result, report=reporter.write())


def _record(journal: Journal, pipeline_id: str) -> PipelineRecord:
    record = journal.pipeline(pipeline_id)
    assert record is not None
    return record
