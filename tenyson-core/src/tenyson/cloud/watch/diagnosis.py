"""Diagnosis: from an exit status, the kernel's counter and the end of the log to the reason of a failure."""

from __future__ import annotations

import re
import signal

from tenyson.cloud.backend import Reason

_OUT_OF_MEMORY = re.compile(
    r"MemoryError\b|OutOfMemoryError|CUDA out of memory|out of memory\b.*\b(alloc|GPU|device)|"
    r"DefaultCPUAllocator: can't allocate memory|Cannot allocate memory|std::bad_alloc",
    re.IGNORECASE,
)
_DISK_FULL = re.compile(
    r"No space left on device|Disk quota exceeded|database or disk is full", re.IGNORECASE
)

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def diagnose(
    exit_code: int | None, *, oom_kills: int | None, log_tail: str, by: str | None = None
) -> tuple[Reason | None, str]:
    """The reason class and a sentence on it; (None, "") if the job succeeded or was asked to end.

    Args:
        exit_code: exit status, negative for a signal; None if nobody was there to see it.
        oom_kills: processes that the kernel killed for memory while the job ran; None where not counted.
        log_tail: the last lines of the log. Read only for jobs that failed by themselves.
        by: who ended it, as its supervisor wrote down.
    """
    if exit_code in (0, EXIT_INTERRUPTED):
        return None, ""
    if exit_code is None:
        return "lost", "the job and its supervisor died without reporting an exit status"
    if exit_code == EXIT_USER_ERROR:
        return "user_error", "the job refused its configuration, task or data (exit status 2)"
    if exit_code < 0:
        name = _signal_name(-exit_code)
        if -exit_code == signal.SIGKILL and oom_kills:
            return "out_of_memory", f"the kernel killed the job because memory ran out ({name})"
        if -exit_code == signal.SIGKILL or not _OUT_OF_MEMORY.search(log_tail):
            return "killed", f"the job was ended by {name}" + (f": {by}" if by else "")
    if _OUT_OF_MEMORY.search(log_tail):
        return "out_of_memory", f"the job ran out of memory (exit status {exit_code})"
    if _DISK_FULL.search(log_tail):
        return "infrastructure", f"the disk is full (exit status {exit_code})"
    return None, f"the job failed by itself (exit status {exit_code})"


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name}, signal {number}"
    except ValueError:
        return f"signal {number}"
