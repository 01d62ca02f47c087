"""A process and its identity: a pid is used again by the system, a pid with its start time is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def start_mark(pid: int) -> str | None:
    """A string that names this very process for ever, or None if it is gone or a zombie.

    On Linux the boot id and field 22 (starttime, clock ticks since boot) of /proc/PID/stat, see proc(5);
    elsewhere the start time that ps prints.
    """
    if sys.platform != "linux":
        return _start_mark_by_ps(pid)
    try:
        # The second field is the command in parentheses and may itself hold spaces and parentheses.
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    state, ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}/{ticks}"


def is_alive(pid: int, mark: str) -> bool:
    """Whether the process that had `mark` still runs."""
    return start_mark(pid) == mark


def _start_mark_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    state, _, started = subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition(
        " "
    )
    return None if not started or state.startswith("Z") else started.strip()
