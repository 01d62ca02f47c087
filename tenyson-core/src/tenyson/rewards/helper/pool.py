"""Helper: hands a computation to a process of its own, and ends the process where that takes too long."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from typing import Any, Final

from tenyson.errors import TaskError

STARTING = 120.0
"""Seconds that a process may take to start and to import what it needs; a busy machine takes its time."""

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV")
"""Variables that the process inherits: no secrets."""


class _Exceeded:
    """The type of EXCEEDED."""

    def __repr__(self) -> str:
        return "EXCEEDED"


EXCEEDED: Final = _Exceeded()
"""The computation took more time, memory or depth than it may."""


class Helper:
    """Processes for one reward, started when needed and used again; as many as calls come at a time, up to the cores.

    The limit is on computing time, so that a busy machine changes no reward; an answer that stays away for ten times as
    long is an error. The processes end with this object, and when this process ends, however it does.
    """

    def __init__(self, reward: str, seconds: float, imports: str = "") -> None:
        """`imports`: the module that the processes import before they begin. Raises: TaskError: `seconds` is no limit."""
        if not 0 < seconds <= 3600:
            raise TaskError(
                f"the reward {reward}: seconds is {seconds}; it must be above 0, and at most 3600"
            )
        self._reward, self._seconds, self._imports = reward, seconds, imports
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._idle: list[_Process] = []
        self._slots = threading.BoundedSemaphore(os.cpu_count() or 1)
        weakref.finalize(self, _close, self._idle, self._pid)

    def call(self, operation: str, **arguments: Any) -> Any:
        """What the operation returns (a function of `tenyson.rewards.helper.operations`), or EXCEEDED.

        Raises: TaskError: the process does not start, or does not answer.
        """
        if self._pid != os.getpid():  # after a fork the processes are the parent's
            self._open()
        request = json.dumps([operation, self._seconds, arguments]).encode()
        with self._slots:
            process = self._idle.pop() if self._idle else _Process(self._reward, self._imports)
            try:
                answer = process.ask(request, 10 * self._seconds + 10)
            except BaseException:
                process.end()
                raise
            if answer is EXCEEDED:
                process.end()
            else:
                self._idle.append(process)
        return answer


class _Process:
    """One process, and the connection to it."""

    def __init__(self, reward: str, imports: str) -> None:
        self._reward = reward
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"}
        self._socket, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tenyson.rewards.helper.worker", imports],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd=tempfile.gettempdir(),
                start_new_session=True,
            )
        except OSError as error:
            self._socket.close()
            raise TaskError(f"the reward {reward}: its helper process does not start: {error}") from error
        finally:
            theirs.close()
        try:
            ready = self._receive(time.monotonic() + STARTING)
        except BaseException:
            self.end()
            raise
        if ready is EXCEEDED or ready != "ready":
            self.end()
            why = "it ended at once" if ready is EXCEEDED else str(ready)
            raise TaskError(f"the reward {reward}: its helper process does not start: {why}")

    def ask(self, request: bytes, seconds: float) -> Any:
        """The answer; EXCEEDED where the process died of it. Raises: TaskError: it does neither."""
        deadline = time.monotonic() + seconds
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(len(request).to_bytes(8, "big") + request)
        except TimeoutError:
            raise self._silent() from None
        except OSError:  # it died
            return EXCEEDED
        answer = self._receive(deadline)
        if answer is EXCEEDED:
            return EXCEEDED
        if "fault" in answer:
            raise TaskError(f"the reward {self._reward}: its helper process fails: {answer['fault']}")
        return answer.get("value", EXCEEDED)

    def _receive(self, deadline: float) -> Any:
        length = self._read(8, deadline)
        if length is None:
            return EXCEEDED
        answer = self._read(int.from_bytes(length, "big"), deadline)
        return EXCEEDED if answer is None else json.loads(answer)

    def _read(self, count: int, deadline: float) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                part = self._socket.recv(min(count - len(parts), 1 << 20))
            except TimeoutError:
                raise self._silent() from None
            except OSError:
                part = b""
            if not part:
                return None
            parts += part
        return bytes(parts)

    def _silent(self) -> TaskError:
        return TaskError(
            f"the reward {self._reward}: its helper process neither computes nor answers",
            next_step="The machine is overloaded or out of memory; run fewer processes on it.",
        )

    def end(self) -> None:
        """Kill the process; it has nothing to save."""
        self._socket.close()
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()


def _close(idle: list[_Process], pid: int) -> None:
    if pid == os.getpid():
        for process in idle:
            process.end()
