"""Client: starts the runner in its virtual environment, and asks it many things at once."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitError
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from tenyson.errors import TaskError

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "UV_CACHE_DIR")
"""Variables that the runner gets; others may be secrets."""
START_SECONDS = 120.0
INSTALL = "python -m venv /opt/vf && /opt/vf/bin/pip install 'verifiers==0.4.*' uv"


class RunnerError(Exception):
    """The runner says that something failed, or has ended."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class Client:
    """One runner, started when it is first asked, and again if it has ended. Used from any thread."""

    def __init__(self, python: str | None, pass_env: Sequence[str]) -> None:
        self._python, self._pass_env = python or sys.executable, tuple(pass_env)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None
        self._owner = 0
        self._numbers = count(1)
        self._waiting: dict[int, Future[Any]] = {}

    def ask(self, verb: str, seconds: float, **request: Any) -> Any:
        """Ask and wait. Raises: TaskError: it fails, or takes longer than `seconds`."""
        number, future = self.begin(verb, **request)
        try:
            return future.result(seconds)
        except WaitError:
            self.cancel(number)
            raise TaskError(
                f"verifiers has not answered `{verb}` within {seconds:g} s",
                next_step="Give it more time: task.args.load_seconds.",
            ) from None
        except RunnerError as error:
            raise TaskError(f"verifiers: {error}", next_step=_hint(str(error))) from None

    def begin(self, verb: str, **request: Any) -> tuple[int, Future[Any]]:
        """Ask; the future has the result, or raises RunnerError. Raises: TaskError: the runner does not start."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            process = self._started()
            number = next(self._numbers)
            self._waiting[number] = future
            self._send(process, {"number": number, "verb": verb, **request})
        return number, future

    def cancel(self, number: int) -> None:
        """Have the runner end what it was asked; its answer is still awaited."""
        with self._lock:
            if self._process is not None and number in self._waiting:
                self._send(self._process, {"number": 0, "verb": "cancel", "what": number})

    def end(self) -> None:
        """End the runner, if there is one."""
        with self._lock:
            process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _send(self, process: subprocess.Popen[str], message: Mapping[str, Any]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
        except OSError:
            pass  # it has ended, which the thread that reads its answers tells those who wait

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._owner, self._waiting = os.getpid(), {}
        environment = {name: os.environ[name] for name in (*PASSED_ON, *self._pass_env) if name in os.environ}
        # Harnesses call uv, which is beside the interpreter; a proxy would be asked for its own loopback.
        folder = str(Path(self._python).absolute().parent)
        environment["PATH"] = os.pathsep.join(filter(None, (folder, environment.get("PATH"))))
        environment |= {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        runner = Path(__file__).with_name("runner.py")
        try:
            process = subprocess.Popen(
                [self._python, "-P", str(runner)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                cwd=tempfile.gettempdir(),
                text=True,
                encoding="ascii",
            )
        except OSError as error:
            raise TaskError(
                f"{self._python} cannot be run: {error.strerror}", place="task.args.python", next_step=INSTALL
            ) from None
        timer = threading.Timer(START_SECONDS, process.kill)
        timer.start()
        line = process.stdout.readline() if process.stdout else ""
        timer.cancel()
        if not line:
            process.kill()
            process.wait()
            raise TaskError(
                f"verifiers does not start with {self._python}: {self._last_words()}",
                place="task.args.python",
                next_step=f"Name the interpreter of an environment that has verifiers: {INSTALL}",
            )
        self._process = process
        threading.Thread(
            target=self._read, args=(process, self._waiting), daemon=True, name="verifiers"
        ).start()
        return process

    def _read(self, process: subprocess.Popen[str], waiting: dict[int, Future[Any]]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            future = waiting.pop(answer["number"], None)
            if future is None:
                continue
            if "error" in answer:
                future.set_exception(RunnerError(answer["error"], answer.get("traceback", "")))
            else:
                future.set_result(answer["result"])
        with self._lock:  # nothing is added to `waiting` any more
            code = process.wait()
            if self._process is process:
                self._process = None
        for future in waiting.values():
            future.set_exception(RunnerError(f"the process that runs verifiers ended with code {code}"))

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read()[-20_000:].decode(errors="replace").strip().splitlines()
        return str(lines[-1])[:300] if lines else "it says nothing"


@cache
def client(python: str | None, pass_env: tuple[str, ...]) -> Client:
    """The client of this process for an interpreter."""
    shared = Client(python, pass_env)
    atexit.register(shared.end)
    return shared


def _hint(message: str) -> str | None:
    if "ModuleNotFoundError" in message:
        return "Install the environment where task.args.python finds it."
    if "ValidationError" in message:
        return "Correct task.args.env_args, or the other arguments that it names."
    return None
