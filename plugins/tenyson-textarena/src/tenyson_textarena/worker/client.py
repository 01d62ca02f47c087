"""The parent's side of the worker: starts it, asks it, and starts another one where a game has ended it."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.errors import MissingDependencyError, TaskError

if TYPE_CHECKING:
    from tenyson_textarena.setup import Setup

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "NLTK_DATA")
"""Variables that the worker gets; others may be secrets."""


class WorkerEndedError(Exception):
    """The worker ended in the middle of a request."""


class Worker:
    """One worker, started when it is first asked. Threads take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None
        self._owner = 0
        self._keys = count()
        self._names: dict[str, Any] | None = None
        self.ended = 0
        """How many workers ended in the middle of a request."""

    def names(self) -> dict[str, Any]:
        """The version of textarena, and the games with why they cannot be played, None where they can."""
        if self._names is None:
            self._names = self._require("textarena", verb="names")
        return self._names

    def begin(self, setup: Setup) -> dict[str, Any]:
        """Deal a game: its `key`, `players`, `seat` and `opening`, and the rest as of `step`. Raises: TaskError."""
        found: dict[str, Any] = self._require(
            setup.game, verb="begin", key=str(next(self._keys)), setup=asdict(setup)
        )
        return found

    def step(self, key: str, setup: Setup, replies: Sequence[str]) -> dict[str, Any]:
        """Take the last of a game's replies: the next `text`, whose `turn` it is, and the outcome if it is `over`. Raises: TaskError."""
        what = f"{setup.game}, move {len(replies)}"
        found: dict[str, Any] = self._require(
            what, verb="step", key=key, setup=asdict(setup), replies=list(replies)
        )
        return found

    def demonstrate(self, setup: Setup) -> dict[str, Any]:
        """A game of random legal moves: `turns`, pairs of move and answer; none if it was not won. Raises: TaskError."""
        found: dict[str, Any] = self._require(setup.game, verb="demonstrate", setup=asdict(setup))
        return found

    def close(self, key: str) -> None:
        """Forget a game; nothing to do if the worker has ended."""
        with self._lock:
            if self._process is not None and self._owner == os.getpid():
                try:
                    self._exchange(self._process, {"verb": "close", "key": key})
                except (OSError, WorkerEndedError):
                    self._end()

    def end(self) -> None:
        """End the worker, if there is one."""
        with self._lock:
            self._end()

    def _require(self, what: str, **request: Any) -> Any:
        try:
            reply = self._ask_twice(request)
        except WorkerEndedError as error:
            raise TaskError(f"{what}: {error}", next_step=_LIMIT) from None
        if "error" in reply:
            step = _LIMIT if reply["kind"] == "time" else None
            raise TaskError(f"{what}: {reply['error']}", next_step=step)
        return reply["result"]

    def _ask_twice(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """If the worker ends over a request, ask another one: what ends both is the request's doing."""
        try:
            return self._ask(request)
        except WorkerEndedError:
            return self._ask(request)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            process = self._started()
            try:
                return self._exchange(process, request)
            except (OSError, WorkerEndedError):
                self.ended += 1
                self._end()
                raise WorkerEndedError("the process that runs textarena ended over it") from None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None and self._owner == os.getpid():
            return self._process
        # A fork has its parent's pipes, which are not its own to use.
        if find_spec("textarena") is None:
            raise MissingDependencyError(
                "textarena", needed_for="the task textarena", install="textarena>=0.7.4,<0.8"
            )
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._owner = os.getpid()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        # One hash seed, since a game may take elements out of sets.
        environment |= {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(one).absolute()) for one in sys.path if one)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tenyson_textarena.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            cwd=tempfile.gettempdir(),
            text=True,
            encoding="ascii",
        )
        self._process = process
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            tail = self._last_words()
            self._end()
            raise TaskError(
                f"the process that runs textarena does not start: {tail}",
                next_step='Try: python -c "import textarena"',
            )
        return process

    def _exchange(self, process: subprocess.Popen[str], request: Mapping[str, Any]) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line.endswith("\n"):
            raise WorkerEndedError
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return str(lines[-1]) if lines else "it says nothing"


@cache
def worker() -> Worker:
    """The worker of this process."""
    shared = Worker()
    atexit.register(shared.end)
    return shared


_LIMIT = "Give it more time: task.args.step_seconds."
