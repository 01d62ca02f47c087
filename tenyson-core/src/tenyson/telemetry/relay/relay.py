"""The relay: brings the telemetry of a job on a rented machine into the database here, and requests from here to the job.

The machine's spool is fetched into the run's folder, piece by piece; what is whole is stored from there at once. Requests
of `run_controls` go the other way as lines of the control file (`tenyson.telemetry.control.file`).
Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tenyson.core.files.atomic import write_json
from tenyson.core.run_folder import CONTROL_READ
from tenyson.errors import TelemetryError
from tenyson.telemetry.control.requests import begin_attempt, mark, read_requests, write_answer
from tenyson.telemetry.control.state import Answer, Asked
from tenyson.telemetry.database.engine import first_line, open_database
from tenyson.telemetry.database.packing import packer_for
from tenyson.telemetry.relay.oddities import Oddities
from tenyson.telemetry.sinks.settings import SqlSettings
from tenyson.telemetry.spool.recover import recover
from tenyson.telemetry.spool.shipper import Shipper
from tenyson.telemetry.spool.spool import Spool, find_spools

STATE = ".controller/relay.json"
"""In the run's folder, where no machine writes: which attempt was begun in `run_controls`, and how much of its answers was read."""

_ANSWER = re.compile(
    r"^\S+ (\w{1,20}) id=([0-9]{1,15}): (applied|rejected)(?: at step ([0-9]{1,15}))?(?:: (.{0,1000}).*)?$"
)
MOST_ANSWER_BYTES = 16 << 20
"""Of the file of answers, which grows by a line a request."""


class Relay:
    """For one run, in one process at a time. Nothing raises: while the database is away, all waits in the run's folder.

    Args:
        config: of the run; its `telemetry.db_url` is the database here.
    """

    def __init__(self, config: Mapping[str, Any], run_dir: Path, run_id: str) -> None:
        telemetry = config.get("telemetry") or {}
        settings = SqlSettings(**(telemetry.get("settings") or {}).get("sql", {}))
        sinks = telemetry.get("sinks")
        self._db_url: str | None = telemetry.get("db_url") if sinks is None or "sql" in sinks else None
        self._pack = packer_for(self._db_url, compress=settings.compress) if self._db_url else None
        self._run_dir = run_dir
        self._run_id = run_id
        self._engine: Engine | None = None
        self._shippers: dict[str, Shipper] = {}
        self._locks: dict[str, int] = {}
        self._odd = Oddities()
        self._refused: dict[str, int] = {}
        self.trouble: str | None = None
        """Why the database did not take what there is, the last time."""

    def carry(self) -> list[str]:
        """Store what was fetched since; returns lines for the job's control file.

        A line may be given again until `delivered` was called with it.
        """
        if self._db_url is None:
            return []
        try:
            if self._engine is None:
                self._engine = open_database(self._db_url, create=True)
            attempt = self._ship(self._engine)
            lines = self._requests(self._engine, attempt) if attempt else []
        except (SQLAlchemyError, TelemetryError, OSError) as error:
            self.trouble = first_line(error)
            return []
        self.trouble = None
        return lines

    def news(self) -> list[str]:
        """What the machine sent that is no telemetry of this run; each line is given once."""
        return self._odd.news()

    def delivered(self, lines: list[str]) -> None:
        """The machine has these lines."""
        rows = [int(line.rpartition("id=")[2]) for line in lines]
        if rows and self._engine is not None:
            with contextlib.suppress(SQLAlchemyError), self._engine.begin() as connection:
                mark(connection, rows, "accepted")

    def finish(self) -> bool:
        """The job is over and all of its spool is here: store the rest. False: it waits, as after a crash."""
        if self._db_url is None:
            return True
        self.carry()
        self.close()
        try:
            engine = open_database(self._db_url, create=True)
        except TelemetryError as error:
            self.trouble = first_line(error)
            return False
        try:
            for done in recover(engine, self._run_dir, pack=self._pack, run_id=self._run_id):
                if done.refused:
                    self._odd.note(f"{done.refused} events at its end: {done.refusal}")
        except (SQLAlchemyError, OSError) as error:
            self.trouble = first_line(error)
            return False
        finally:
            engine.dispose()
        return True

    def close(self) -> None:
        """Release the spools and the database; another process may continue."""
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()
        self._shippers.clear()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _ship(self, engine: Engine) -> str | None:
        """Returns the uid of the latest attempt."""
        spools = []
        for spool in find_spools(self._run_dir):
            if spool.header.run_id == self._run_id:
                spools.append(spool)
            else:
                self._odd.note("a spool of another run", spool.header.uid)
        for spool in spools:
            if not self._hold(spool):
                continue  # another process carries it
            shipper = self._shippers.setdefault(
                spool.header.uid, Shipper(engine, spool.folder, spool.header, pack=self._pack, foreign=True)
            )
            while shipper.ship():
                pass
            shipper.beat()
            self._note_refused(spool.header.uid, shipper)
        return spools[-1].header.attempt_uid if spools else None

    def _note_refused(self, uid: str, shipper: Shipper) -> None:
        for _ in range(min(1000, shipper.refused - self._refused.get(uid, 0))):
            self._odd.note(f"an event that is none: {shipper.refusal}")
        self._refused[uid] = shipper.refused

    def _hold(self, spool: Spool) -> bool:
        """Lock it as its writer would: to everybody else here it belongs to a process that lives."""
        uid = spool.header.uid
        if uid not in self._locks:
            lock = os.open(spool.path(spool.segments[-1]), os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                return False
            self._locks[uid] = lock
        return True

    def _requests(self, engine: Engine, attempt_uid: str) -> list[str]:
        state = self._read_state()
        if state.get("begun") != attempt_uid:
            with engine.begin() as connection:
                begin_attempt(connection, self._run_id)
            state = {"begun": attempt_uid, "answered": 0}
            self._write_state(state)
        self._take_answers(engine, state)
        with engine.execution_options(reads=True).connect() as connection:
            asked, others = read_requests(connection, self._run_id, attempt_uid)
        if others:
            with engine.begin() as connection:
                mark(connection, others, "expired")
        return [_line(one) for one in asked]

    def _take_answers(self, engine: Engine, state: dict[str, Any]) -> None:
        try:
            with (self._run_dir / CONTROL_READ).open("rb") as file:
                text = file.read(MOST_ANSWER_BYTES)
        except OSError:
            return
        behind = text.rfind(b"\n") + 1
        if behind <= state["answered"]:
            return
        answers = [
            _answer(match)
            for line in text[state["answered"] : behind].decode(errors="replace").splitlines()
            if (match := _ANSWER.match(line))
        ]
        with engine.begin() as connection:
            for answer in answers:
                write_answer(connection, answer, run_id=self._run_id)
        self._write_state(state | {"answered": behind})

    def _read_state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self._run_dir / STATE).read_text(encoding="ascii"))
            return found
        except (OSError, ValueError):
            return {}

    def _write_state(self, state: dict[str, Any]) -> None:
        path = self._run_dir / STATE
        path.parent.mkdir(exist_ok=True)
        write_json(path, state)


def _line(asked: Asked) -> str:
    argument = "" if asked.argument is None else f" {asked.argument}"
    return f"{asked.verb}{argument} id={asked.row}"


def _answer(match: re.Match[str]) -> Answer:
    verb, row, status, step, reason = match.groups()
    return Answer(
        Asked(verb, row=int(row)),
        "applied" if status == "applied" else "rejected",
        step=int(step) if step else None,
        reason=reason,
    )
