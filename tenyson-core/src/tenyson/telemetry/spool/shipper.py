"""The shipper: brings a spool into the database. Rows and the place in the spool move in one transaction, so that
after any interruption the next try resumes behind the last stored event, and nothing is stored twice.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, select, update
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from tenyson.telemetry.database.attempts import AttemptRow, beat, find_or_make, give_up, insert_or_ignore
from tenyson.telemetry.database.bulk import upsert_rows
from tenyson.telemetry.database.engine import first_line
from tenyson.telemetry.database.rows import Rows, any_stored, stored_numbers
from tenyson.telemetry.database.tables import losses, spools
from tenyson.telemetry.events.checked import fault
from tenyson.telemetry.events.json_text import read_lines
from tenyson.telemetry.spool.batches import Place, chunks_of
from tenyson.telemetry.spool.spool import Header, segment_path

FEW_EVENTS = 8
"""Where more than these are refused together, it is an outage like any other, and they are tried again."""
PAUSE_SECONDS = 1e-3
"""Between two chunks beside a training thread, so that it gets the interpreter."""

# Statements of every transaction are built once: building one takes as long as running it.
_LOCK_SPOOL = select(spools).where(spools.c.uid == bindparam("of")).with_for_update()
_MOVE_SPOOL = update(spools).where(spools.c.id == bindparam("number"))

_Numbered = tuple[int, dict[str, Any]]


class Shipper:
    """Ships one spool. One thread at a time may call it."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        header: Header,
        *,
        pack: Callable[[str], Any] | None = None,
        foreign: bool = False,
    ) -> None:
        """`foreign`: another machine wrote it. Each event is checked, and speaks of its own run only."""
        self.stored = 0
        """Events that this shipper has stored."""
        self.refused = 0
        """Events that the database does not take, whatever is tried."""
        self.refusal: str | None = None
        """Why, of the first one."""
        self._engine = engine
        self._folder = folder
        self._header = header
        self._pack = pack
        self._foreign = foreign
        self._place = Place(header.segment, 0, 0)
        self._number = 0
        self._replays = False
        self._new_from: Place | None = None
        """From here on nothing is stored: this shipper itself has stored what precedes it."""
        self._attempt: AttemptRow | None = None

    @property
    def segment(self) -> int:
        """The segment that is read next."""
        return self._place.segment

    @property
    def position(self) -> int:
        """The byte in it."""
        return self._place.position

    def ship(self, *, quick: bool = True) -> int:
        """Store the next batch; returns how many events it held, 0 where all is stored.

        `quick`: without pauses, for a process in which nobody else works.

        Raises: SQLAlchemyError, OSError: nothing of the batch was stored.
        """
        if self._attempt is not None and not self._is_behind():
            return 0
        try:
            return self._ship(quick, careful=False)
        except Exception as error:
            if not _is_about_data(error):
                raise
        return self._ship(quick, careful=True)

    def _ship(self, quick: bool, *, careful: bool) -> int:
        """`careful`: what the database refuses is left out; otherwise it is an error, and no savepoint is needed."""
        refusals: list[str] = []
        try:
            with self._engine.begin() as connection:
                self._take_up(connection)
                end = self._place
                if careful or end != self._new_from:
                    # Only where the place was set back by hand, or the spool was copied.
                    first = (self._number << 32) + end.events
                    self._replays = any_stored(connection, first, (self._number + 1 << 32) - 1)
                for payloads, place in chunks_of(self._folder, self._header.uid, self._place, quick=quick):
                    numbered = self._numbered(connection, end.events, payloads, refusals)
                    if careful:
                        self._store_what_is_taken(connection, list(chain.from_iterable(numbered)), refusals)
                    else:
                        self._store(connection, numbered)
                    end = place
                    if not quick:
                        time.sleep(PAUSE_SECONDS)
                begin = self._place
                if end != begin:
                    self._move(connection, end)
        except BaseException:
            self._attempt = self._new_from = None
            raise
        self._place = end
        self._new_from = None if self._replays else end
        self.stored += end.events - begin.events
        self.refused += len(refusals)
        self.refusal = self.refusal or next(iter(refusals), None)
        return 0 if end == begin else max(1, end.events - begin.events)

    def beat(self) -> None:
        """Note in the database that the writer is alive. Raises: SQLAlchemyError."""
        if self._attempt is not None:
            with self._engine.begin() as connection:
                beat(connection, self._attempt, time.time())

    def note_losses(self, sink: str, events: int, reason: str) -> None:
        """Note how many events of this attempt a sink did not record in all. Raises: SQLAlchemyError."""
        with self._engine.begin() as connection:
            attempt = self._take_up(connection)
            row = (attempt.run_id, attempt.attempt, self._header.rank, sink, reason, events, time.time())
            upsert_rows(connection, losses, [row], "events = excluded.events, reason = excluded.reason")

    def give_up(self, reason: str) -> bool:
        """Mark the attempt as failed, if nothing says how it ended. Raises: SQLAlchemyError."""
        with self._engine.begin() as connection:
            return give_up(connection, self._take_up(connection), reason)

    def _take_up(self, connection: Connection) -> AttemptRow:
        """Lock this spool's row, and resume from its position."""
        head = self._header
        attempt = find_or_make(connection, head.run_id, head.attempt_uid, head.began)
        row = self._lock_row(connection)
        if row is None:
            connection.execute(
                insert_or_ignore(connection, spools).values(
                    uid=head.uid,
                    run_id=head.run_id,
                    attempt=attempt.attempt,
                    rank=head.rank,
                    segment=head.segment,
                    position=0,
                    events=0,
                    updated_at=time.time(),
                )
            )
            row = self._lock_row(connection)
        self._number, self._place = row.id, Place(row.segment, row.position, row.events)
        attempt.refresh(connection)
        if self._attempt is None:
            self._attempt = attempt
        self._attempt.is_latest = attempt.is_latest
        return self._attempt

    def _lock_row(self, connection: Connection) -> Any:
        return connection.execute(_LOCK_SPOOL, {"of": self._header.uid}).first()

    def _move(self, connection: Connection, place: Place) -> None:
        values = {"segment": place.segment, "position": place.position, "events": place.events}
        connection.execute(_MOVE_SPOOL, {"number": self._number, **values, "updated_at": time.time()})

    def _is_behind(self) -> bool:
        """Whether the spool holds more than is stored; without asking the database."""
        place = self._place
        try:
            size = segment_path(self._folder, self._header.uid, place.segment).stat().st_size
        except FileNotFoundError:
            size = 0
        return size > place.position or (
            segment_path(self._folder, self._header.uid, place.segment + 1).exists()
        )

    def _numbered(
        self, connection: Connection, before: int, payloads: list[bytes], refusals: list[str]
    ) -> Iterator[list[_Numbered]]:
        """The events of each payload with their numbers; `before` of the spool's events precede them.

        Those that are stored already are left out, and those of another machine that are odd, for a reason in `refusals`.
        """
        first = (self._number << 32) + before
        for payload in payloads:
            events = read_lines(payload)
            numbered = list(enumerate(events, start=first))
            if self._foreign:
                reasons = [self._why_odd(event) for event in events]
                refusals += [why for why in reasons if why is not None]
                numbered = [pair for pair, why in zip(numbered, reasons, strict=True) if why is None]
            if self._replays:
                there = stored_numbers(connection, first, first + len(events) - 1)
                numbered = [pair for pair in numbered if pair[0] not in there]
            yield numbered
            first += len(events)

    def _store(self, connection: Connection, payloads: Iterable[list[_Numbered]]) -> None:
        assert self._attempt is not None
        rows = Rows(self._attempt, self._pack)
        # A payload becomes rows while it is in the processor's cache.
        for numbered in payloads:
            rows.add(numbered)
        rows.store(connection)

    def _store_what_is_taken(
        self, connection: Connection, numbered: list[_Numbered], refusals: list[str]
    ) -> None:
        try:
            with connection.begin_nested():
                self._store(connection, [numbered])
            return
        except Exception as error:
            if not _is_about_data(error):
                raise
        # One of them cannot be stored: the others are.
        refused = []
        for pair in numbered:
            try:
                with connection.begin_nested():
                    self._store(connection, [[pair]])
            except Exception as error:
                if not _is_about_data(error):
                    raise
                refused.append(error)
        if len(refused) == len(numbered) > FEW_EVENTS:
            raise refused[0]  # it is not them
        refusals += [f"{type(error).__name__}: {first_line(error)}" for error in refused]

    def _why_odd(self, event: dict[str, Any]) -> str | None:
        """What is wrong with an event of another machine."""
        why = fault(event)
        return "an event of another run" if why is None and event["run_id"] != self._header.run_id else why


def _is_about_data(error: Exception) -> bool:
    """Whether an event itself is odd, as one that a plugin made up may be; else it is an outage."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state is not None:
        return str(state)[:2] in ("22", "23")  # data exceptions, violated constraints
    return isinstance(
        error, (DataError, IntegrityError, ProgrammingError, KeyError, TypeError, ValueError, OverflowError)
    )
