"""A time limit inside a worker: a signal interrupts Python code, and the kernel ends a process that heeds none."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 2.0
"""Seconds of processor time beyond the limit, after which the kernel ends a process that computes in C code."""


class TimeLimitError(BaseException):
    """The code took too long. No Exception: what runs under a limit catches those."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """At most so many seconds, for code of the main thread of a worker that answers one request at a time; not nested.

    Code that computes in C beyond the limit ends the process: SIGPROF, whose default is that, counts time of the processor only.

    Raises: TimeLimitError.
    """
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_PROF, seconds + GRACE)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        # The alarm may come here too; it must not leave the timer that ends the process.
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise TimeLimitError("it took longer than its time limit")
