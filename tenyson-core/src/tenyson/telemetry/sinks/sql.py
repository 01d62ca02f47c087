"""The SQL sink: a background thread writes batches, so that a training step never waits for the database."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from tenyson.errors import TelemetryError
from tenyson.telemetry.events import Event

if TYPE_CHECKING:
    from tenyson.config.schema import Config

BATCH_SECONDS = 0.25
"""Events wait at most this long for the ones that follow."""
BATCH_EVENTS = 2048
"""Events of one transaction."""
_CLOSE_SECONDS = 60


class SqlSink:
    """Writes into the database at `telemetry.db_url`; the tables are in `tenyson.telemetry.tables`.

    Raises:
        TelemetryError: there is no `telemetry.db_url`, or that database cannot be used.
        MissingDependencyError: its driver is not installed.
    """

    name = "sql"

    def __init__(self, config: Config, run_dir: Path) -> None:  # noqa: ARG002  the signature of all sinks
        from tenyson.telemetry.database import open_database
        from tenyson.telemetry.rows import Recorder

        if config.telemetry.db_url is None:
            raise TelemetryError(
                "the sink sql needs telemetry.db_url",
                next_step="set telemetry.db_url, for example to sqlite:///./tenyson_telemetry.db",
            )
        self._engine = open_database(config.telemetry.db_url, create=True)
        self._recorder = Recorder()
        self._queue: SimpleQueue[Event | None] = SimpleQueue()
        self._closing = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write_batches, name="telemetry-sql", daemon=True)
        self._thread.start()

    def write(self, event: Event) -> None:
        """Hand one event to the thread. Raises: TelemetryError if the thread has failed."""
        self._raise_failure()
        self._queue.put(event)

    def close(self) -> None:
        """Write what is left. Raises: TelemetryError if not all could be written."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            raise TelemetryError(f"the database took no more events within {_CLOSE_SECONDS} s")
        self._raise_failure()

    def _write_batches(self) -> None:
        try:
            more = True
            while more:
                events, more = self._next_batch()
                if events:
                    with self._engine.begin() as connection:
                        self._recorder.store(connection, events)
        except Exception as error:
            self._error = error
        finally:
            self._engine.dispose()

    def _next_batch(self) -> tuple[list[Event], bool]:
        """Events to write, and whether more may follow."""
        first = self._queue.get()
        # Sleeping, instead of taking each event as it comes, leaves the interpreter to the training thread.
        self._closing.wait(BATCH_SECONDS)
        batch: list[Event] = []
        following = first
        while following is not None:
            batch.append(following)
            if len(batch) == BATCH_EVENTS:
                return batch, True
            try:
                following = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _raise_failure(self) -> None:
        if self._error is not None:
            from tenyson.telemetry.database import first_line

            raise TelemetryError(
                f"the database refused a batch: {first_line(self._error)}",
                next_step="events.jsonl has what follows",
            ) from self._error
