"""The parent's side of the worker: starts it, asks it, and starts another one where an answer has ended it."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tenyson.errors import MissingDependencyError, TaskError

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
"""Variables that the worker gets; others may be secrets, and answers are scored there."""
CHUNK = 64
"""Entries of one request."""


class WorkerEndedError(Exception):
    """The worker ended in the middle of a request."""


class Worker:
    """One worker, started when it is first asked. Threads take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None
        self._owner = 0
        self.ended = 0
        """How many workers ended in the middle of a request."""

    def names(self) -> dict[str, Any]:
        """The version of reasoning-gym, and the data sets with their numbers of levels."""
        found: dict[str, Any] = self._require("reasoning-gym", verb="names")
        return found

    def check(self, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a data set's config, unknown keys of `config`, and what its validation says."""
        found: dict[str, Any] = self._require(name, verb="check", name=name, config=dict(config))
        return found

    def level(self, name: str, config: Mapping[str, Any], level: int, mode: str) -> dict[str, Any]:
        """The config of a level. Raises: TaskError."""
        what = f"level {level} of {name}"
        found: dict[str, Any] = self._require(
            what, verb="level", name=name, config=dict(config), level=level, mode=mode
        )
        return found

    def entries(
        self, name: str, config: Mapping[str, Any], indices: Sequence[int], seconds: float
    ) -> list[dict[str, Any]]:
        """Entries of a data set. Raises: TaskError: it raises, or one of them takes longer than `seconds`."""
        what = f"the data set {name}, entry {indices[0]}" + (f" to {indices[-1]}" if len(indices) > 1 else "")
        found: list[dict[str, Any]] = self._require(
            what, verb="entries", name=name, config=dict(config), indices=list(indices), seconds=seconds
        )
        return found

    def score(
        self,
        name: str,
        config: Mapping[str, Any],
        index: int,
        digest: str,
        answer: str | None,
        seconds: float,
    ) -> float:
        """The score of an answer; 0 where scoring it takes longer than `seconds`, or ends the worker.

        Raises: TaskError: the entry cannot be generated again.
        """
        request = {
            "verb": "score",
            "name": name,
            "config": dict(config),
            "index": index,
            "expected": digest,
            "answer": answer,
            "seconds": seconds,
        }
        try:
            reply = self._ask_twice(request)
        except WorkerEndedError:
            return 0.0
        if "error" in reply:
            raise TaskError(f"the data set {name}, entry {index}: {reply['error']}", next_step=_SAME_VERSION)
        return float(reply["result"]["score"])

    def close(self) -> None:
        """End the worker, if there is one."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def _require(self, what: str, **request: Any) -> Any:
        try:
            reply = self._ask_twice(request)
        except WorkerEndedError as error:
            raise TaskError(f"{what}: {error}", next_step=_LIMIT) from None
        if "error" in reply:
            step = _LIMIT if reply["kind"] == "time" else "Correct the arguments, or leave this data set out."
            raise TaskError(f"{what}: {reply['error']}", next_step=step)
        return reply["result"]

    def _ask_twice(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Where the worker ends over a request, ask another one: what ends both is the request's doing."""
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
                self.close()
                raise WorkerEndedError("the process that runs reasoning-gym ended over it") from None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None and self._owner == os.getpid():
            return self._process
        # A fork has its parent's pipes, which are not its own to use.
        from importlib.util import find_spec

        if find_spec("reasoning_gym") is None:
            raise MissingDependencyError(
                "reasoning-gym", needed_for="the task reasoning-gym", install="reasoning-gym>=0.1.25,<0.2"
            )
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._owner = os.getpid()
        # One hash seed, since some generators take elements out of sets.
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(one).absolute()) for one in sys.path if one)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tenyson_reasoning_gym.worker"],
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
            self.close()
            raise TaskError(
                f"the process that runs reasoning-gym does not start: {tail}",
                next_step='Try: python -c "import reasoning_gym"',
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

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return str(lines[-1]) if lines else "it says nothing"


@cache
def worker() -> Worker:
    """The worker of this process."""
    shared = Worker()
    atexit.register(shared.close)
    return shared


_LIMIT = "Give easier arguments, or more time: task.args.entry_seconds."
_SAME_VERSION = "Use the version of reasoning-gym that the samples were made with."
