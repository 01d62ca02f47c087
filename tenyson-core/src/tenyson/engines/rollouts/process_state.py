"""What a task's code may change of the whole process: put right, so that it costs nobody else anything."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_told: set[str | None] = set()
"""Directories that a warning has named."""


_kept: list[str | None] = []
"""The working directory of the job that runs."""


@contextmanager
def folder_kept() -> Iterator[None]:
    """While a job runs, its working directory is the one in which it began; one that a call left earlier may change it at any time."""
    folder = _folder()
    _kept.append(folder)
    try:
        yield
    finally:
        _kept.pop()
        if folder is not None and _folder() != folder:
            os.chdir(folder)


class ProcessState:
    """The process as it was before a task's code ran in it."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._folder = _kept[-1] if _kept else _folder()

    def end_if_forked(self) -> None:
        """End a copy of this process that a task's code has made and that comes back from there."""
        if os.getpid() != self._pid:
            os._exit(0)

    def put_right(self) -> None:
        """Go back to the working directory, which relative paths of everybody else are in."""
        now = _folder()
        if now != self._folder and self._folder is not None:
            os.chdir(self._folder)
            if now in _told:
                return
            _told.add(now)
            warnings.warn(
                f"the task's code changed the working directory of the process to {now}; it is {self._folder} again",
                RuntimeWarning,
                stacklevel=2,
            )


def _folder() -> str | None:
    """None where the directory was removed."""
    try:
        return os.getcwd()  # noqa: PTH109  called after every batch of calls
    except FileNotFoundError:
        return None
