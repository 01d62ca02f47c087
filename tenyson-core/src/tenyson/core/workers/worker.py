"""Worker: an object in a process of its own, whose methods are called from here."""

from __future__ import annotations

import json
import os
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitError
from itertools import count
from pathlib import Path
from typing import Any

from tenyson.core.workers.connection import Connection
from tenyson.errors import WorkerError

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
"""Variables that every process gets; others may be secrets."""
CHILD = Path(__file__).with_name("child.py")


class Worker:
    """Calls methods of one object in a process, which is started when it is first asked, and again if it has ended.

    Arguments and results are JSON. Any thread may ask. The process ends with this object, and when this process ends, however
    it does; what it has started in its process group ends with it. A fork of this process starts one of its own.
    """

    def __init__(
        self,
        name: str,
        serves: str,
        *,
        python: str | None = None,
        pass_env: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        side_by_side: bool = False,
        attempts: int = 1,
        memory: int | None = None,
        start_seconds: float = 120.0,
        grace_seconds: float = 0.0,
        largest: int = 64 << 20,
    ) -> None:
        """Nothing is started yet.

        Args:
            name: what the process runs, for messages.
            serves: "module:name" or "/path/file.py:name" of a class or function; called without arguments, it returns the object.
            python: an interpreter (3.11 or later) with its own packages, which needs nothing of Tenyson; None: this one, with
                what it can import.
            pass_env: names of further variables that the process gets, beside `PASSED_ON`.
            env: variables with their values.
            side_by_side: the methods are coroutine functions, called while others run. Otherwise one is called at a time, on the
                process's main thread.
            attempts: how often a request is made that ends the process; not side by side, where nobody knows which of them it was.
            memory: most bytes of the process's address space.
            start_seconds: for the process to start and to make the object.
            grace_seconds: for coroutines to end once they are cancelled, at the end.
            largest: most bytes of an answer.
        """
        self._name, self._python, self._pass_env = name, python, tuple(pass_env)
        self._env = dict(env or {})
        self._side_by_side, self._attempts = side_by_side, 1 if side_by_side else attempts
        self._start_seconds, self._grace, self._largest = start_seconds, grace_seconds, largest
        options = {"serves": serves, "side_by_side": side_by_side, "memory": memory}
        self._options = json.dumps(options | {"largest": largest, "grace": grace_seconds})
        self._numbers = count(1)
        self._lost = 0
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._live: list[Connection] = []
        weakref.finalize(self, _end, self._live, self._pid, self._grace)

    @property
    def pid(self) -> int | None:
        """Of the process; None where none was started, or it has ended."""
        return next((one.pid for one in self._live if one.fault is None), None)

    @property
    def pending(self) -> int:
        """Requests that the process works at, those included that nobody waits for any more."""
        return sum(one.pending for one in self._live)

    @property
    def ended(self) -> int:
        """How many processes ended, or had to be ended, before they were told to."""
        return self._lost + sum(one.fault is not None for one in self._live)

    def ask(self, verb: str, seconds: float, /, **arguments: Any) -> Any:
        """Call a method and wait for its result, `seconds` at most from this request's turn and without the time of a start.

        Raises: WorkerError: the method raised, the process does not start or has ended over it, or time is over. A process that
            answers one at a time is then ended; side by side, the call is cancelled.
        """
        self._mind_forks()
        if self._side_by_side:
            return self._result(*self._begin(verb, arguments), verb, seconds)
        with self._turn:
            return self._ask_alone(verb, seconds, arguments, self._attempts)

    def submit(self, verb: str, /, **arguments: Any) -> Future[Any]:
        """Call a coroutine function; the future raises WorkerError. Cancelling it cancels the call, whose end is not awaited.

        Raises: WorkerError: the interpreter cannot be run. ValueError: the worker answers one request at a time.
        """
        if not self._side_by_side:
            raise ValueError(f"the process that runs {self._name} answers one request at a time: use `ask`")
        self._mind_forks()
        return self._begin(verb, arguments)[1]

    def end(self) -> None:
        """End the process, if there is one. The next request starts another."""
        self._mind_forks()
        with self._lock:
            _end(self._live, self._pid, self._grace)

    def _mind_forks(self) -> None:
        if self._pid != os.getpid():  # the process is the parent's, and so is whoever holds a lock
            self._open()

    def _ask_alone(self, verb: str, seconds: float, arguments: Mapping[str, Any], attempts: int) -> Any:
        connection, future = self._begin(verb, arguments)
        try:
            return self._result(connection, future, verb, seconds)
        except BaseException as error:
            if isinstance(error, WorkerError) and error.kind == "raised":
                raise
            self._drop()  # it works at what nobody waits for, if it works
            if not isinstance(error, WorkerError) or error.kind not in ("ended", "answer") or attempts == 1:
                raise
        return self._ask_alone(verb, seconds, arguments, attempts - 1)

    def _begin(self, verb: str, arguments: Mapping[str, Any]) -> tuple[Connection, Future[Any]]:
        with self._lock:
            if self._live and self._live[0].fault is not None:
                self._lost += 1
                self._live.clear()
            if not self._live:
                self._live.append(self._started())
            connection = self._live[0]
            return connection, connection.submit(next(self._numbers), verb, arguments)

    def _result(self, connection: Connection, future: Future[Any], verb: str, seconds: float) -> Any:
        connection.started.wait()
        try:
            return future.result(seconds)
        except WaitError:
            if self._side_by_side:
                future.cancel()
            message = f"it has not answered `{verb}` within {seconds:g} s"
            raise WorkerError(
                f"the process that runs {self._name}: {message}", kind="late", message=message
            ) from None

    def _drop(self) -> None:
        with self._lock:
            self._lost += len(self._live)
            _end(self._live, self._pid, 0.0)

    def _started(self) -> Connection:
        python = self._python or sys.executable
        names = [*PASSED_ON, *self._pass_env, *([] if self._python else ["VIRTUAL_ENV"])]
        environment = {name: os.environ[name] for name in names if name in os.environ}
        if self._python is None:
            found = os.pathsep.join(str(Path(one).absolute()) for one in sys.path if one)
            environment["PYTHONPATH"] = found
        try:
            return Connection(
                self._name,
                [python, "-P", str(CHILD), self._options],
                environment | self._env,
                start_seconds=self._start_seconds,
                largest=self._largest,
            )
        except OSError as error:
            message = f"{python} cannot be run: {error.strerror}"
            raise WorkerError(
                f"the process that runs {self._name} does not start: {message}",
                kind="python",
                message=message,
            ) from None


def _end(live: list[Connection], pid: int, grace: float) -> None:
    if pid == os.getpid():
        for one in live:
            one.end(grace)
        live.clear()
