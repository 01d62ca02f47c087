"""The poller: a thread that looks for requests once a second, in the database and in the run's folder."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tenyson.telemetry.control import file
from tenyson.telemetry.control.requests import begin_attempt, mark, read_requests, write_answer
from tenyson.telemetry.control.state import SPOT_NOTICE, Answer, Asked, Controls, StopSignal
from tenyson.telemetry.control.verbs import TABLE
from tenyson.telemetry.events import Notice
from tenyson.telemetry.spool.relayed import is_relayed

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tenyson.telemetry.dispatch import Telemetry

REOPEN_SECONDS = 10.0


class ControlPoller:
    """Takes up requests for one attempt, and writes down what became of them.

    Open it before the run starts to load anything: requests made from then on count. A database that fails never
    means stop; the poller says so once and looks again.

    Raises:
        TelemetryError: the database cannot be used when the poller is opened.
    """

    def __init__(
        self,
        db_url: str | None,
        run_id: str,
        controls: Controls | StopSignal,
        *,
        run_dir: Path | None = None,
        attempt_uid: str | None = None,
        telemetry: Telemetry | None = None,
        interval: float = 1.0,
    ) -> None:
        """`interval`: seconds between two looks. `telemetry` gets a notice of what the poller sees."""
        self._db_url = None if is_relayed() else db_url
        self._run_id = run_id
        self._controls = controls if isinstance(controls, Controls) else Controls(controls)
        self._stop = self._controls.stop
        self._run_dir = run_dir
        self._attempt_uid = attempt_uid
        self._telemetry = telemetry
        self._interval = interval
        self._engine: Engine | None = None
        self._next_opening = 0.0
        self._failing = False
        self._begun = False
        self._seen: set[int] = set()
        self._keys: set[str | None] = set()
        self._accepted: list[int] = []
        if run_dir is not None:
            file.expire(run_dir)
        if self._db_url is not None:
            self._open(self._db_url)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="run-controls", daemon=True)
        self._thread.start()

    def __enter__(self) -> ControlPoller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Look no more; what is still open is answered."""
        self._closing.set()
        self._thread.join(self._interval + 35)

    def _open(self, db_url: str) -> None:
        from tenyson.telemetry.database.engine import open_database
        from tenyson.telemetry.database.schema import SchemaOutdatedError

        try:
            self._engine = open_database(db_url, create=True)
        except SchemaOutdatedError:
            # The SQL sink says which command to run. Until then the file is there.
            self._next_opening = time.monotonic() + REOPEN_SECONDS
            return
        if not self._begun:
            with self._engine.begin() as connection:
                begin_attempt(connection, self._run_id)
            self._begun = True

    def _poll(self) -> None:
        last = False
        while not last:
            last = self._closing.wait(self._interval)
            if last:
                self._controls.end()
            if self._run_dir is not None:
                if not self._stop.requested and file.has_notice(self._run_dir):
                    self._stop.set(SPOT_NOTICE)
                    self._say("warning", "this machine is about to be taken away; the job saves and ends")
                for asked in file.take_requests(self._run_dir):
                    if asked.key is None or asked.key not in self._keys:
                        self._keys.add(asked.key)
                        self._take(asked)
            answers = self._pop_answers()
            try:
                self._look_into_database(answers)
                self._failing = False
            except Exception as error:
                self._controls.answers.extend(answers)
                if not self._failing:
                    self._say(
                        "warning", f"control requests cannot be read, the run continues: {_name(error)}"
                    )
                self._failing = True
        if self._engine is not None:
            self._engine.dispose()

    def _look_into_database(self, answers: list[Answer]) -> None:
        if self._engine is None:
            if self._db_url is None or time.monotonic() < self._next_opening:
                return
            self._open(self._db_url)
            if self._engine is None:
                return
        with self._engine.execution_options(reads=True).connect() as connection:
            asked, others = read_requests(connection, self._run_id, self._attempt_uid)
        for one in asked:
            # What could not be marked the last time comes again.
            if one.row is not None and one.row not in self._seen:
                self._seen.add(one.row)
                if self._take(one):
                    self._accepted.append(one.row)
        # Those that were refused just now.
        answers += self._pop_answers()
        if not (self._accepted or others or answers):
            return
        with self._engine.begin() as connection:
            mark(connection, others, "expired")
            mark(connection, self._accepted, "accepted")
            for answer in answers:
                write_answer(connection, answer)
        self._accepted.clear()

    def _pop_answers(self) -> list[Answer]:
        """Answers to rows; those to lines of the file are written down on the way."""
        rows = []
        while self._controls.answers:
            answer = self._controls.answers.popleft()
            if answer.asked.row is not None:
                rows.append(answer)
            elif self._run_dir is not None:
                file.note_answer(self._run_dir, answer)
        return rows

    def _take(self, asked: Asked) -> bool:
        reason = self._controls.accept(asked)
        if reason is not None:
            self._say("warning", f"{asked.verb} was requested and refused: {reason}")
        else:
            self._say("info", TABLE[asked.verb].heard.format(argument=asked.argument))
        return reason is None

    def _say(self, level: str, message: str) -> None:
        if self._telemetry is not None:
            self._telemetry.emit(Notice(run_id=self._run_id, level=level, message=message))  # type: ignore[arg-type]


def _name(error: Exception) -> str:
    return type(error).__name__
