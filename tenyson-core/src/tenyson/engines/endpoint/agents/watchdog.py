"""Ends the processes of agents where this process is killed before it can do that itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress

_PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    sign, group = line.split()
    (groups.add if sign == "+" else groups.discard)(int(group))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""
"""Reads process groups until its input ends, which it does when this process does, however that comes."""


class Watchdog:
    """A process that is told of process groups, and kills those that this one leaves behind. It starts with the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        # A child that this process forks has no agents, and must not speak for its parent.
        os.register_at_fork(after_in_child=self._forget_all)

    def watch(self, group: int) -> None:
        """Kill this group if this process ends first."""
        self._tell(f"+ {group}\n")

    def forget(self, group: int) -> None:
        """The group has ended."""
        self._tell(f"- {group}\n")

    def _tell(self, line: str) -> None:
        with self._lock, suppress(OSError):
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    start_new_session=True,
                )
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _forget_all(self) -> None:
        self._lock, self._process = threading.Lock(), None


WATCHDOG = Watchdog()
"""That of this process."""
