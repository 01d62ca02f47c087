"""Randomness: the global random states as one game has them, whatever other games draw between its moves."""

from __future__ import annotations

import random
import sys
from types import TracebackType
from typing import Any


class Randomness:
    """A context in which the process draws this game's random numbers. textarena seeds and draws from the global states."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._python: Any = random.Random(seed).getstate()
        self._numpy: Any = None

    def __enter__(self) -> None:
        random.setstate(self._python)
        if numpy := sys.modules.get("numpy"):
            if self._numpy is None:
                numpy.random.seed(self._seed)
            else:
                numpy.random.set_state(self._numpy)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._python = random.getstate()
        if numpy := sys.modules.get("numpy"):
            self._numpy = numpy.random.get_state()
