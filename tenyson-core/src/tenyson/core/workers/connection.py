"""Connection: requests to one process of a worker, and the thread that writes them and reads the answers."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Literal

from tenyson.core.sanitize import one_line
from tenyson.core.workers.process import LAST_SECONDS, LINE, Process
from tenyson.errors import WorkerError

OUTPUT = 2000
"""Characters of what the process has printed that an error has."""
LOOK_SECONDS = 1.0
"""How often the process is looked at: what it has forked may hold its pipes open."""

Kind = Literal["start", "ended", "answer"]
Over = tuple[Kind, str]
"""Why there are no more answers: the kind of the error, and words for it; "" where the process has ended by itself."""


class Connection:
    """One process. Any thread may ask it, and nothing but `end` waits. Raises: OSError: the program cannot be run."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        start_seconds: float,
        largest: int,
    ) -> None:
        self._name, self._start_seconds, self._largest = name, start_seconds, largest
        self._process = Process(command, environment)
        self.pid = self._process.pid
        self.fault: WorkerError | None = None
        """Why it answers no more."""
        # A worker that is collected ends its process, in whichever thread that happens.
        self._lock = threading.RLock()
        self._waiting: dict[int, Future[Any]] = {}
        self._outgoing = bytearray()
        self._ready = False
        self.started = threading.Event()
        """Set once the process answers, or does not start."""
        self._ends_at: float | None = None
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"worker {name}")
        self._thread.start()

    @property
    def pending(self) -> int:
        """Requests without an answer, those included that nobody waits for any more."""
        return len(self._waiting)

    def submit(self, number: int, verb: str, arguments: Mapping[str, Any]) -> Future[Any]:
        """Ask; the future raises WorkerError. Cancelling it cancels the request there."""
        line = json.dumps({"number": number, "verb": verb, "arguments": arguments})
        future: Future[Any] = Future()
        with self._lock:
            fault = self.fault
            if fault is None:
                self._waiting[number] = future
                self._send(line)
        if fault is not None:
            future.set_exception(fault)
        future.add_done_callback(lambda one: self._cancel(number) if one.cancelled() else None)
        return future

    def end(self, grace: float) -> None:
        """End the process and what it has started, after `grace` seconds at the latest."""
        with self._lock:
            self._ends_at = time.monotonic() + grace
            self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(grace + 2 * LAST_SECONDS)

    def _cancel(self, number: int) -> None:
        with self._lock:
            if number in self._waiting:
                self._send(json.dumps({"cancel": number}))

    def _send(self, line: str) -> None:
        self._outgoing += f"{line}\n".encode("ascii")
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is full, which wakes too, or the thread has ended
            self._waker.send(b"\0")

    def _run(self) -> None:
        """The thread."""
        try:
            kind, words = self._converse()
        except Exception as error:  # such as no memory for an answer; nobody must wait for ever
            kind, words = "answer", f"{type(error).__name__}: {error}"
        # One that ends by itself has its own exit code.
        how = self._process.end(0.0 if words else LAST_SECONDS)
        with self._lock:
            self.fault = self._explained(kind, words, how)
            waiting, self._waiting = self._waiting, {}
            self._woken.close()
            self._waker.close()
        self.started.set()
        for future in waiting.values():
            if future.set_running_or_notify_cancel():
                future.set_exception(self.fault)

    def _converse(self) -> Over:
        """Write and read until there is nothing to read any more."""
        process, starts_until = self._process, time.monotonic() + self._start_seconds
        with selectors.DefaultSelector() as selector:
            for one in (process.stdout, process.stderr, self._woken):
                selector.register(one, selectors.EVENT_READ)
            while True:
                events = selector.select(self._patience())
                for key, _ in events:
                    if key.fileobj is self._woken:
                        self._woken.recv(4096)
                    elif key.fileobj == process.stdout:
                        if over := self._read():
                            return over
                    elif key.fileobj == process.stderr and not process.listen():
                        selector.unregister(process.stderr)
                if not events and process.has_ended():
                    return "ended", ""
                if not self._ready and time.monotonic() > starts_until:
                    return "start", f"it has not started within {self._start_seconds:g} s"
                if self._ends_at is not None:
                    if time.monotonic() >= self._ends_at:
                        return "ended", "it was ended"
                    self._close(selector)
                else:
                    self._write(selector)

    def _patience(self) -> float:
        if self._ends_at is None:
            return LOOK_SECONDS
        return min(LOOK_SECONDS, max(0.0, self._ends_at - time.monotonic()))

    def _write(self, selector: selectors.BaseSelector) -> None:
        """Write what it takes, and have the thread told when it takes more."""
        stdin = self._process.stdin
        with self._lock:
            if self._outgoing:
                self._process.write(self._outgoing)
            left = bool(self._outgoing)
        if left != (stdin in selector.get_map()):
            if left:
                selector.register(stdin, selectors.EVENT_WRITE)
            else:
                selector.unregister(stdin)

    def _close(self, selector: selectors.BaseSelector) -> None:
        if self._process.stdin in selector.get_map():
            selector.unregister(self._process.stdin)
        self._process.close_stdin()

    def _read(self) -> Over | None:
        """Hand answers over."""
        lines = self._process.read()
        if lines is None:
            return "ended", ""
        for line in lines:
            if not self._take(line):
                text = one_line(line[:LINE].decode(errors="replace"), 80)
                return "answer", f"it wrote what is no answer: {text!r}"
        if self._process.unfinished > self._largest:
            return "answer", f"its answer has more than {self._largest:,} bytes"
        return None

    def _take(self, line: bytes) -> bool:
        try:
            answer = json.loads(line)
            if not self._ready:
                self._ready = bool(answer["ready"])
                self.started.set()
                return True
            future = self._waiting.pop(answer["number"])
            error = answer.get("error")
            result, failed = (None, _raised(error)) if error is not None else (answer["result"], None)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False
        if future.set_running_or_notify_cancel():
            if failed is None:
                future.set_result(result)
            else:
                future.set_exception(failed)
        return True

    def _explained(self, kind: Kind, words: str, how: str) -> WorkerError:
        who, last = f"the process that runs {self._name}", self._process.last_line
        if not self._ready:
            kind, words = "start", words or last or "it says nothing"
            cause = f"{who} does not start: {words}"
        elif words:
            cause = f"{who}: {words}"
        else:
            cause, words = f"{who} {how}" + (f": {last}" if last else ""), last
        return WorkerError(cause, kind=kind, message=words, output=self._process.output[-OUTPUT:])


def _raised(error: Mapping[str, str]) -> WorkerError:
    kind, message = error["kind"], error["message"]
    return WorkerError(
        f"{kind}: {message}" if message else kind,
        kind="raised",
        message=message,
        raised=kind,
        output=error["traceback"],
    )
