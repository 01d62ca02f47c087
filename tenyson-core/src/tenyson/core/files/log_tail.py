"""The tail of a log file."""

from __future__ import annotations

from pathlib import Path


def log_tail(path: Path, most_bytes: int, *, start: int = 0) -> str:
    """The last `most_bytes` of what the log holds after byte `start`; empty where it cannot be read.

    Bytes that are no UTF-8 become U+FFFD; the first line may be half of one.
    """
    try:
        with path.open("rb") as log:
            log.seek(max(start, path.stat().st_size - most_bytes))
            return log.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
