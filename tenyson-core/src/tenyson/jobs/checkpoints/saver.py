"""The saver: writes checkpoints in the background, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Saver:
    """One piece of work in flight. Whoever brings the next one waits for the one before."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        """`failed` gets the error, in the thread that asks next: training continues without that checkpoint."""
        self._failed = failed
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin; the one before must have been waited for."""
        assert self._thread is None
        self._thread = threading.Thread(target=self._run, args=(work,), name="checkpoint-saver")
        self._thread.start()

    def wait(self) -> None:
        """Return once nothing is in flight."""
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        if (error := self._error) is not None:
            self._error = None
            self._failed(error)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._error = error
