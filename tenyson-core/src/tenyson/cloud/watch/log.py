"""A log stream: bytes as they arrive, turned into clean lines for people."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from tenyson.core.sanitize import without_controls

MAX_LINE = 1_000_000
CHUNK_BYTES = 1 << 16


def chunks(path: Path, start: int, cursor: int) -> Iterator[tuple[int, bytes]]:
    """What a log file holds behind byte `cursor` of the attempt that begins at `start`, as (next cursor, bytes)."""
    try:
        log = path.open("rb")
    except FileNotFoundError:
        return
    with log:
        log.seek(start + cursor)
        while chunk := log.read(CHUNK_BYTES):
            cursor += len(chunk)
            yield cursor, chunk


class LineReader:
    """Collects chunks of bytes and gives out whole lines. Bytes that are no UTF-8 become U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The lines that `chunk` completes, without their ends."""
        *lines, self._rest = (self._rest + self._decoder.decode(chunk)).split("\n")
        if len(self._rest) > MAX_LINE:
            lines, self._rest = [*lines, self._rest], ""
        for line in lines:
            yield _last_state(line)

    def finish(self) -> Iterator[str]:
        """The last line, if it had no end."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if rest:
            yield _last_state(rest)


def _last_state(line: str) -> str:
    """A progress bar draws over itself with carriage returns: only what it showed last counts."""
    return without_controls(line.rstrip("\r").rpartition("\r")[2])
