"""The JSONL sink: one JSON line an event in `events.jsonl`, written at once, so that a kill loses nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.core.run_folder import EVENTS
from tenyson.errors import TelemetryError
from tenyson.telemetry.events import Event
from tenyson.telemetry.events.json_text import event_line
from tenyson.telemetry.sinks.sink import BaseSink

if TYPE_CHECKING:
    from tenyson.config.schema import Config


class JsonlSink(BaseSink):
    """Appends to `<run folder>/events.jsonl`; a resumed run appends to the same file."""

    name = "jsonl"
    inline = True
    every_rank = True

    def __init__(self, config: Config, run_dir: Path) -> None:  # noqa: ARG002  the signature of all sinks
        self._path = run_dir / EVENTS
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise TelemetryError(f"cannot write events: {error.strerror}", place=str(self._path)) from error
        self._mend()

    def write(self, event: Event) -> None:
        """Append one event."""
        self.write_lines(event_line(event))

    def write_lines(self, lines: bytes | memoryview) -> None:
        """One `writev` call for each batch: lines of several threads and processes never mix."""
        if (written := os.writev(self._file, (lines, b"\n"))) != len(lines) + 1:
            raise OSError(
                f"{self._path}: only {written} of {len(lines) + 1} bytes were written; is the disk full?"
            )

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _mend(self) -> None:
        # A machine that lost power may have left half a line; end it, so that it spoils no other.
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")
