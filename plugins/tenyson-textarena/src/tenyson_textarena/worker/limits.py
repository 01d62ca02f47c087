"""The time limit of a request: a signal interrupts Python code, and the kernel ends a process that heeds none."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 2.0
"""Seconds of processor time beyond the limit, after which the kernel ends a process that computes in C code."""


class TimeLimitError(BaseException):
    """A request took too long. No Exception: games catch those."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """At most so many seconds. SIGPROF, whose default is to end the process, counts time of the processor only.

    Raises: TimeLimitError.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds + GRACE)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """The handler of SIGALRM. Raises: TimeLimitError."""
    raise TimeLimitError
