"""The SQL sink: events go into a spool beside the job at once, and from there into the database, by a thread."""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.core.run_folder import SPOOL
from tenyson.core.stdio import say
from tenyson.errors import TelemetryError
from tenyson.telemetry.events import Event
from tenyson.telemetry.events.json_text import event_line
from tenyson.telemetry.sinks.sink import BaseSink
from tenyson.telemetry.spool.relayed import is_relayed
from tenyson.telemetry.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tenyson.config.schema import Config
    from tenyson.telemetry.spool.shipper import Shipper

PERIOD_SECONDS = 0.25
"""Between two looks into the spool. The thread sleeps: waking it would cost the caller more than its write."""
LONGEST_BACKOFF_SECONDS = 10.0
HEARTBEAT_SECONDS = 10.0

_sinks: weakref.WeakSet[SqlSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in _sinks:
        sink.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class SqlSink(BaseSink):
    """Records into the database at `telemetry.db_url`; the tables are in `tenyson.telemetry.database.tables`.

    While the database is away, events wait in `<run folder>/spool`; so they do where it holds runs in an older
    schema. What an earlier, dead process left there is stored first. On a rented machine (`tenyson.telemetry.spool.relayed`)
    they stay there: the controller fetches and stores them.

    Raises:
        TelemetryError: there is no `telemetry.db_url`, that database cannot be used, or the spool cannot be written.
        MissingDependencyError: its driver is not installed.
    """

    name = "sql"
    inline = True
    every_rank = True

    def __init__(self, config: Config, run_dir: Path) -> None:
        from tenyson.telemetry.database.engine import open_database
        from tenyson.telemetry.database.packing import packer_for
        from tenyson.telemetry.database.schema import SchemaOutdatedError
        from tenyson.telemetry.sinks.settings import SqlSettings

        if config.telemetry.db_url is None:
            raise TelemetryError(
                "the sink sql needs telemetry.db_url",
                next_step="set telemetry.db_url, for example to sqlite:///./tenyson_telemetry.db",
            )
        self._db_url = config.telemetry.db_url
        self._run_dir = run_dir
        self._run_id = config.run.id or run_dir.name
        self._settings = SqlSettings(**config.telemetry.settings.get("sql", {}))
        self._relayed = is_relayed()
        self._pack = None if self._relayed else packer_for(self._db_url, compress=self._settings.compress)
        self._said: str | None = None
        self._engine: Engine | None = None
        try:
            if not self._relayed:
                self._engine = open_database(self._db_url, create=True)
        except SchemaOutdatedError as error:
            self._say(f"{error.cause}; events wait in {run_dir / SPOOL}. {error.next_step}")
        self._writer: SpoolWriter | None = None
        self._shipper: Shipper | None = None
        self._attempt_uid = uuid.uuid4().hex
        self._rank = 0
        self._start_lock = threading.Lock()
        _sinks.add(self)

    @property
    def lost(self) -> int:  # type: ignore[override]
        """Events that will not be in the database."""
        writer = self._writer
        return (writer.lost if writer else 0) + (self._shipper.refused if writer and self._shipper else 0)

    @property
    def trouble(self) -> str | None:  # type: ignore[override]
        """Why events were lost."""
        return (self._writer and self._writer.trouble) or (self._shipper and self._shipper.refusal) or None

    def joins(self, attempt_uid: str, rank: int) -> None:
        """Say which attempt, and which of its processes, writes here; before the first event."""
        self._attempt_uid, self._rank = attempt_uid, rank
        self._start()

    def write(self, event: Event) -> None:
        """Record one event."""
        self.write_lines(event_line(event))

    def write_lines(self, lines: bytes | memoryview) -> None:
        """Record events that are encoded already, as one batch. Never waits for the database."""
        if self._writer is None:
            self._start()
        self._writer.append(lines)  # type: ignore[union-attr]

    def close(self) -> None:
        """Store what is left; what the database does not take in time stays in the spool, and is told."""
        if self._writer is None:
            self._start()
        assert self._writer is not None
        self._writer.sync()
        self._closing.set()
        if self._thread is not None:
            self._thread.join(self._settings.close_seconds + 5)
        self._writer.close()
        if self.lost:
            say(f"warning: {self.lost} events are not in the database: {self.trouble}")
        if self._stored_all:
            self._writer.delete()
        elif not self._relayed:
            say(
                f"warning: the database has not taken all events; the rest is safe in {self._writer.folder}\n"
                f"  Store it with `tenyson telemetry recover {self._run_dir}` once the database is back."
            )

    def _start(self) -> None:
        """Open the spool and start the thread; again in a forked process."""
        with self._start_lock:
            if self._writer is not None:
                return
            try:
                self._writer = SpoolWriter(
                    self._run_dir,
                    run_id=self._run_id,
                    attempt_uid=self._attempt_uid,
                    rank=self._rank,
                    cap_bytes=self._settings.spool_bytes,
                )
            except OSError as error:
                raise TelemetryError(
                    f"cannot spool events: {error.strerror}", place=str(self._run_dir / SPOOL)
                ) from error
            self._shipper = None
            self._stored_all = False
            self._closing = threading.Event()
            self._thread: threading.Thread | None = None
            if not self._relayed:
                self._thread = threading.Thread(target=self._work, name="telemetry-sql", daemon=True)
                self._thread.start()

    def after_fork(self) -> None:
        """In the child: the parent keeps its own spool and connections."""
        self._start_lock = threading.Lock()
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        if self._engine is not None:
            self._engine.dispose(close=False)

    def _work(self) -> None:
        assert self._writer is not None
        writer, closing = self._writer, self._closing
        delay, beaten, deadline = PERIOD_SECONDS, time.monotonic(), None
        while deadline is None or time.monotonic() < deadline:
            if closing.wait(delay if deadline is None else 0.05) and deadline is None:
                deadline = time.monotonic() + self._settings.close_seconds
            try:
                self._ship(writer)
                if self._rank == 0 and time.monotonic() - beaten > HEARTBEAT_SECONDS:
                    self._shipper.beat()  # type: ignore[union-attr]
                    beaten = time.monotonic()
            except Exception as error:
                self._say_away(error)
                delay = min(delay * 2, LONGEST_BACKOFF_SECONDS)
                if deadline is not None:
                    time.sleep(PERIOD_SECONDS)
                continue
            delay, self._said = PERIOD_SECONDS, None
            if deadline is not None and not writer.holds_back:
                if self.lost:
                    self._shipper.note_losses(self.name, self.lost, self.trouble or "")  # type: ignore[union-attr]
                self._stored_all = True
                break
        if self._engine is not None:
            self._engine.dispose()

    def _ship(self, writer: SpoolWriter) -> None:
        """Store everything that is in the spool now."""
        from tenyson.telemetry.database.engine import open_database
        from tenyson.telemetry.spool.recover import recover
        from tenyson.telemetry.spool.shipper import Shipper

        if self._engine is None:
            self._engine = open_database(self._db_url, create=True)
        if self._shipper is None:
            if self._rank == 0:
                recover(self._engine, self._run_dir, pack=self._pack)
            self._shipper = Shipper(self._engine, writer.folder, writer.header, pack=self._pack)
        while self._shipper.ship(quick=self._closing.is_set()):
            writer.mark_stored(self._shipper.segment, self._shipper.position)

    def _say_away(self, error: Exception) -> None:
        from tenyson.telemetry.database.engine import first_line

        self._say(f"the database takes no events, they wait in {self._run_dir / SPOOL}: {first_line(error)}")

    def _say(self, message: str) -> None:
        if self._said is None:
            self._said = message
            say(f"warning: {message}")
