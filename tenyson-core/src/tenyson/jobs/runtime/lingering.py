"""Lingering: a job that has written its result and whose process does not end, such as for a thread or an exit handler of its own code.

Its result stands: after a grace the process is ended, by itself where it can, else by its supervisor. Standard library only.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tenyson.core.run_folder import CLOSING, JOB_RESULT

GRACE_VARIABLE = "TENYSON_EXIT_GRACE"
GRACE_SECONDS = 30.0
CLOSING_SECONDS = 600.0
"""Longer than any sink may take to close."""
STATUSES = {"success": 0, "stopped": 130, "failed": 1}
MOST_BYTES = 16 << 20


def exit_grace() -> float:
    """Seconds that a process may take to end once its job is over; TENYSON_EXIT_GRACE sets them."""
    try:
        seconds = float(os.environ.get(GRACE_VARIABLE, ""))
    except ValueError:
        return GRACE_SECONDS
    return seconds if 0 < seconds < 1e6 else GRACE_SECONDS


class Lingering:
    """Watches one job's folder. What lies there when it is made is of an earlier job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = self._mark()
        self._seen: tuple[int, int] | None = None
        self._since = 0.0

    def status(self) -> int | None:
        """The exit status that the result of this job implies; None where it has written none that can be read."""
        if self._mark() in (None, self._before):
            return None
        try:
            with (self._folder / JOB_RESULT).open("rb") as file:
                data = json.loads(file.read(MOST_BYTES))
            return STATUSES.get(data["status"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def is_over(self, now: float | None = None) -> bool:
        """Whether the result has been there for longer than its process may take to end."""
        now = time.monotonic() if now is None else now
        mark = self._mark()
        if mark != self._seen:
            self._seen, self._since = mark, now
        if mark in (None, self._before):
            return False
        grace = CLOSING_SECONDS if (self._folder / CLOSING).exists() else exit_grace()
        return now - self._since > grace and self.status() is not None

    def _mark(self) -> tuple[int, int] | None:
        try:
            entry = (self._folder / JOB_RESULT).stat()
        except OSError:
            return None
        return entry.st_mtime_ns, entry.st_ino
