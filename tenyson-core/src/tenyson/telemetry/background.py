"""Background: a queue and a thread in front of a sink that may be slow, so that no training step waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from tenyson.telemetry.events import Event
from tenyson.telemetry.sinks.sink import BaseSink

LIMIT = 20_000
"""Events that may wait; more are counted as lost."""
CLOSE_SECONDS = 120.0


class Background(BaseSink):
    """Hands events to `sink` from a thread of its own, in their order."""

    def __init__(self, sink: BaseSink, on_failure: Callable[[BaseException], None]) -> None:
        """`on_failure` is called once, in the thread, with what the sink raised; nothing is written after that."""
        self.name = sink.name
        self.lost = 0
        self._sink = sink
        self._on_failure = on_failure
        self._failed = False
        self._queue: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"telemetry-{sink.name}", daemon=True)
        self._thread.start()

    def write(self, event: Event) -> None:
        """Queue one event."""
        if self._queue.qsize() >= LIMIT:
            self.lost += 1
        else:
            self._queue.put(event)

    def close(self) -> None:
        """Write what waits, then close the sink. Raises: TimeoutError after CLOSE_SECONDS."""
        self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"it took no more events within {CLOSE_SECONDS:.0f} s")
        if not self._failed:
            self._sink.close()

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self._sink.write(event)
            except (Exception, SystemExit) as error:
                self._failed = True
                self.lost += 1 + self._queue.qsize()
                self._on_failure(error)
                return
