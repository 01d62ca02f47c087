"""What a process that runs one job spares the interpreter.

Importing torch, transformers and TRL makes more than a million objects that live as long as the process. The garbage collector
looks through them again and again while they are made, and once more when the process ends: a quarter of a short job.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Callable
from typing import NoReturn

_WHILE_STARTING = 500_000
"""New objects between two collections; Python's own is 700 (2,000 from Python 3.13 on)."""

_usual: list[tuple[int, int, int]] = []


def collect_rarely() -> None:
    """For a process that only runs a job; call before its libraries are imported."""
    if not _usual:
        _usual.append(gc.get_threshold())
        gc.set_threshold(_WHILE_STARTING, *_usual[0][1:])


def collect_as_usual() -> None:
    """Go back to Python's own thresholds, without what is imported by now; nothing where they were never changed."""
    if _usual:
        gc.freeze()
        atexit.register(gc.unfreeze)  # libraries in C++ report what is never freed as leaks
        gc.set_threshold(*_usual.pop())


def end_after_handlers(status: Callable[[], int | None]) -> None:
    """End the process once threads have been joined and exit handlers have run, without freeing object by object.

    Call it first: the handler that is registered first is the last to run. Where another one waits already, such as that of a
    tool that measures coverage, the process ends in Python's own way, so that this one runs as well.

    Args:
        status: the exit status; None to leave the end to Python.
    """
    if getattr(atexit, "_ncallbacks", lambda: 1)():
        return

    def end() -> None:
        if (code := status()) is not None:
            end_now(code)

    atexit.register(end)


def end_now(status: int) -> NoReturn:
    """End the process at once, without threads and exit handlers. What was printed is out."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
