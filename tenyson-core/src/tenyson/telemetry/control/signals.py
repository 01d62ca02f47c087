"""Signals: SIGTERM and SIGINT as a stop of this process's job.

Once its first step has begun, a job finishes what it is at, saves and ends. Before that there is nothing to save, and nobody who would
look: an import may hang, a model may load for minutes. There the signal ends the job at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable

from tenyson.core.stdio import say
from tenyson.telemetry.control.state import StopSignal

UNWIND_SECONDS = 5.0
"""So long a job that ends before its first step may take to close what it has opened."""
STOPPED = 130
"""Exit status."""


class StoppedEarlyError(BaseException):
    """A signal came before the first step. No Exception, so that nobody takes it for a failure of what it interrupts."""


class Signals:
    """Turns signals into `stop`. Only the main thread may make one.

    Args:
        conclude: leaves the result of a job that could not be unwound; it is called in another thread, with the signal's name.
    """

    def __init__(self, stop: StopSignal, conclude: Callable[[str], None]) -> None:
        self._stop = stop
        self._conclude = conclude
        self._lock = threading.Lock()
        self._over: int | None = None
        self._before = {
            number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)
        }
        self._written: socket.socket | None = None
        self._timer: threading.Timer | None = None
        self._watch_main_thread()

    def restore(self) -> None:
        """Handle signals as before: the process has other work to do after this job."""
        if self._timer is not None:
            self._timer.cancel()
        if self._written is not None:
            signal.set_wakeup_fd(-1)
            self._written.close()
        for number, handler in self._before.items():
            # None: it was not installed from Python, and cannot be from here.
            if handler is not None:
                signal.signal(number, handler)

    def over(self, status: int) -> None:
        """The job has ended and all is written down: from now on a signal only ends the process."""
        self._over = status

    def _handle(self, number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        if self._over is not None:
            os._exit(self._over)
        if self._stop.requested:
            say(f"{name} again: ending now, without saving")
            os._exit(128 + number)
        self._stop.set(name)
        if self._stop.begun:
            say(f"{name}: saving at the next step boundary, then ending")
            return
        say(f"{name}: ending now; before the first step there is nothing to save")
        self._force_later(name)
        raise StoppedEarlyError(name)

    def _watch_main_thread(self) -> None:
        """Python calls handlers between two of its own instructions: one long call into C keeps them waiting. The byte that the
        system writes for each signal comes at once."""
        near, far = socket.socketpair()
        far.setblocking(False)
        try:
            signal.set_wakeup_fd(far.fileno(), warn_on_full_buffer=False)
        except ValueError:  # not the main thread
            near.close()
            far.close()
            return

        def watch() -> None:
            with near:
                while data := near.recv(16):
                    for number in data:
                        if number in (signal.SIGTERM, signal.SIGINT) and not self._stop.begun:
                            self._force_later(signal.Signals(number).name)

        self._written = far
        threading.Thread(target=watch, name="signals", daemon=True).start()

    def _force_later(self, name: str) -> None:
        with self._lock:
            if self._timer is not None:
                return
            self._timer = timer = threading.Timer(UNWIND_SECONDS, self._force, (name,))
        timer.daemon = True
        timer.start()

    def _force(self, name: str) -> None:
        if self._over is not None:
            os._exit(self._over)
        if self._stop.begun:  # the first step began in that very moment, and looks at the stop
            return
        with contextlib.suppress(Exception):
            self._conclude(name)
        os._exit(STOPPED)
