"""The shipper: brings a spool into the database. Rows and the place in the spool move in one transaction, so that
after whatever break the next try goes on where the last one was stored, and nothing is stored twice.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, ProgrammingError

from tenyson.telemetry.attempts import beat, find_or_make, give_up
from tenyson.telemetry.database import first_line
from tenyson.telemetry.jsontext import read_line
from tenyson.telemetry.rows import Recorder, stored_numbers
from tenyson.telemetry.spool import Header, event_lines, read_records, segment_path
from tenyson.telemetry.tables import spools

BATCH_EVENTS = 2048
"""Events of one transaction, about: a batch of the caller is never cut."""
BATCH_BYTES = 16 << 20

# Not an outage: the event itself is odd, as one that a plugin made up may be.
_REFUSED = (
    DataError,
    IntegrityError,
    ProgrammingError,
    InterfaceError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
)


class Shipper:
    """Ships one spool. One thread at a time."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        header: Header,
        *,
        pack: Callable[[str], Any] | None = None,
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._header = header
        self._pack = pack
        self._recorder: Recorder | None = None
        self.segment = header.segment
        """Where the next batch is read: segment and byte."""
        self.position = 0
        self.events = 0
        """Events of this spool that the database has."""
        self.stored = 0
        """Events that this shipper has brought there."""
        self.refused = 0
        """Events that the database does not take, whatever is tried."""
        self.refusal: str | None = None
        """Why, of the first one."""
        self._number = 0

    def ship(self) -> int:
        """Store the next batch; returns how many events it held, 0 where all is stored.

        Raises: SQLAlchemyError, OSError: nothing of the batch was stored.
        """
        if self._recorder is None:
            with self._engine.begin() as connection:
                self._take_up(connection)
        # Read and decoded before the transaction begins, since others may wait for it.
        lines, segment, position = self._read()
        if (segment, position) == (self.segment, self.position):
            return 0
        events = [_decode(line) for line in lines]
        try:
            with self._engine.begin() as connection:
                if self._take_up(connection):
                    self._store(connection, events)
                    self._move(connection, segment, position, self.events + len(events))
                else:
                    return 1  # somebody else has shipped some of it: look again
        except BaseException:
            self._recorder = None
            raise
        self.segment, self.position = segment, position
        self.events += len(events)
        self.stored += len(events)
        return max(1, len(events))

    def beat(self) -> None:
        """Note in the database that the writer is alive. Raises: SQLAlchemyError."""
        if self._recorder is not None:
            with self._engine.begin() as connection:
                beat(connection, self._recorder.attempt, time.time())

    def give_up(self, reason: str) -> bool:
        """Mark the attempt as failed, if nothing says how it ended. Raises: SQLAlchemyError."""
        with self._engine.begin() as connection:
            self._take_up(connection)
            assert self._recorder is not None
            return give_up(connection, self._recorder.attempt, reason)

    def _take_up(self, connection: Connection) -> bool:
        """Lock this spool's row and see where it stands; True where that is where this shipper left it."""
        head = self._header
        row = connection.execute(select(spools).where(spools.c.uid == head.uid).with_for_update()).first()
        attempt = find_or_make(connection, head.run_id, head.attempt_uid, head.began)
        if row is None:
            made = insert(spools).values(
                uid=head.uid,
                run_id=head.run_id,
                attempt=attempt.attempt,
                rank=head.rank,
                segment=head.segment,
                position=0,
                events=0,
                updated_at=time.time(),
            )
            self._number = int(connection.execute(made.returning(spools.c.id)).scalar_one())
            place = (head.segment, 0, 0)
        else:
            self._number, place = row.id, (row.segment, row.position, row.events)
        attempt.refresh(connection)
        if self._recorder is None:
            self._recorder = Recorder(attempt, self._pack)
        self._recorder.attempt = attempt
        same = place == (self.segment, self.position, self.events)
        self.segment, self.position, self.events = place
        return same

    def _move(self, connection: Connection, segment: int, position: int, events: int) -> None:
        connection.execute(
            update(spools)
            .where(spools.c.id == self._number)
            .values(segment=segment, position=position, events=events, updated_at=time.time())
        )

    def _read(self) -> tuple[list[bytes], int, int]:
        """The next lines, and the place behind them."""
        lines: list[bytes] = []
        segment, position, read = self.segment, self.position, 0
        while len(lines) < BATCH_EVENTS and read < BATCH_BYTES:
            path = segment_path(self._folder, self._header.uid, segment)
            if path.exists():
                at_start = position == 0
                for payload, behind in read_records(path, position):
                    position = behind
                    if at_start:  # the header
                        at_start = False
                        continue
                    lines += event_lines(payload)
                    read += len(payload)
                    if len(lines) >= BATCH_EVENTS or read >= BATCH_BYTES:
                        return lines, segment, position
            # The writer begins a segment only once the one before is whole.
            if not segment_path(self._folder, self._header.uid, segment + 1).exists():
                break
            segment, position = segment + 1, 0
        return lines, segment, position

    def _store(self, connection: Connection, events: list[dict[str, Any]]) -> None:
        assert self._recorder is not None
        first = (self._number << 32) + self.events
        there = stored_numbers(connection, first, first + len(events) - 1)
        numbered = [pair for pair in enumerate(events, start=first) if pair[0] not in there]
        try:
            with connection.begin_nested():
                self._recorder.store(connection, numbered)
            return
        except _REFUSED:
            self._recorder.forget()
        # One of them cannot be stored: the others are.
        for pair in numbered:
            try:
                with connection.begin_nested():
                    self._recorder.store(connection, [pair])
            except _REFUSED as error:
                self._recorder.forget()
                self.refused += 1
                self.refusal = self.refusal or f"{type(error).__name__}: {first_line(error)}"


def _decode(line: bytes) -> dict[str, Any]:
    try:
        return read_line(line)
    except ValueError:
        return {}
