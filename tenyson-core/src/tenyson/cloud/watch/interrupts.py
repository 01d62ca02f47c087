"""Interrupts: counts Ctrl-C and SIGTERM instead of raising, so that no step of a job's life is torn apart.

SIGHUP, by which the system tells that the terminal was closed, ends nothing: whoever watched has left, and the work is not theirs alone.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

LAST = 3
"""Which one of those that come while a job is concluded is not counted only: nobody is kept by what hangs."""


@contextlib.contextmanager
def outliving_the_terminal() -> Iterator[None]:
    """Whoever closes the terminal stops no pipeline. Outside the main thread nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler, and not SIG_IGN, which the programs that are started here would inherit.
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    if before is signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


class Interrupts:
    """While it is entered, SIGINT and SIGTERM are counted, and SIGHUP does nothing. Outside the main thread it counts nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, Any] = {}
        self._answer: Callable[[int], None] | None = None
        self._left = LAST
        self._terminal = outliving_the_terminal()

    def __enter__(self) -> Self:
        self._terminal.__enter__()
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
        self._terminal.__exit__(None, None, None)

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
