"""Interrupts: counts Ctrl-C and SIGTERM instead of raising, so that no step of a job's life is torn apart."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

LAST = 3
"""Which one of those that come while a job is concluded is not counted only: nobody is kept by what hangs."""


class Interrupts:
    """While it is entered, SIGINT and SIGTERM are counted. Outside the main thread it counts nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, Any] = {}
        self._answer: Callable[[int], None] | None = None
        self._left = LAST

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def concluding(self, answer: Callable[[int], None]) -> None:
        """From here on nobody looks at the count: each one is answered with how many more it takes to leave, and the last one,
        with 0, raises KeyboardInterrupt.
        """
        self._answer = answer

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self._answer is None:
            return
        self._left -= 1
        # A stream in whose midst the signal came takes no second line.
        with contextlib.suppress(RuntimeError):
            self._answer(self._left)
        if self._left <= 0:
            raise KeyboardInterrupt
