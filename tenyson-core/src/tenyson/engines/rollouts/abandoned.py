"""Threads in calls whose time is over. They belong to the process, whichever batch left them behind, until their calls end."""

from __future__ import annotations

import os
import threading


class Abandoned:
    """How many there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        # No thread of a parent is in its child, and one of them may have held the lock.
        os.register_at_fork(after_in_child=self._none)

    @property
    def count(self) -> int:
        """Those that are still in their calls."""
        return self._count

    def add(self, number: int) -> None:
        """Count some more, or some less."""
        with self._lock:
            self._count += number

    def _none(self) -> None:
        self._lock, self._count = threading.Lock(), 0


ABANDONED = Abandoned()
"""Those of this process."""
