"""How a job's compute threads wait for each other."""

from __future__ import annotations

import os

_SLEEPING = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
"""For GNU's and Intel's OpenMP, which read it when torch is loaded."""


def let_threads_sleep() -> None:
    """Let threads that have nothing to do sleep; call before torch is imported. What the user has set stays.

    OpenMP's threads spin by default. Where another process uses one of the cores, a step whose threads wait for the one that
    has been interrupted takes several times as long.
    """
    for name, value in _SLEEPING.items():
        os.environ.setdefault(name, value)
