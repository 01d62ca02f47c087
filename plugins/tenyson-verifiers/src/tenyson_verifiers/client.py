"""What the task asks of the process that runs verifiers, in an interpreter that has it."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from tenyson.core.workers import Worker
from tenyson.errors import TaskError, WorkerError

RUNNER = Path(__file__).with_name("runner.py")
INSTALL = "python -m venv /opt/vf && /opt/vf/bin/pip install 'verifiers==0.4.*' uv"
LOOPBACK = "127.0.0.1,localhost"


class Client:
    """One process, started when it is first asked, and again if it has ended. Used from any thread."""

    def __init__(self, python: str | None, pass_env: tuple[str, ...]) -> None:
        self._python = python or sys.executable
        # Harnesses call uv, which is beside the interpreter; a proxy would be asked for its own loopback.
        folder = str(Path(self._python).absolute().parent)
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PATH"))))
        self.process = Worker(
            "verifiers",
            f"{RUNNER}:Runner",
            python=self._python,
            pass_env=("SSL_CERT_FILE", "UV_CACHE_DIR", *pass_env),
            env={"PATH": path, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK},
            side_by_side=True,
            grace_seconds=10.0,
        )

    def ask(self, verb: str, seconds: float, /, **request: Any) -> Any:
        """Ask and wait. Raises: TaskError: it fails, or takes longer than `seconds`."""
        try:
            return self.process.ask(verb, seconds, **request)
        except WorkerError as error:
            if error.kind != "late":
                raise self._explained(error) from None
        raise TaskError(
            f"verifiers has not answered `{verb}` within {seconds:g} s",
            next_step="Give it more time: task.args.load_seconds.",
        )

    async def run(self, **request: Any) -> Any:
        """Play an episode; it ends there where this is cancelled. Raises: TaskError: it fails."""
        try:
            return await asyncio.wrap_future(self.process.submit("run", **request))
        except WorkerError as error:
            raise self._explained(error) from None

    def _explained(self, error: WorkerError) -> TaskError:
        if error.kind == "python":
            return TaskError(error.message, place="task.args.python", next_step=INSTALL)
        if error.kind == "start":
            return TaskError(
                f"verifiers does not start with {self._python}: {error.message}",
                place="task.args.python",
                next_step=f"Name the interpreter of an environment that has verifiers: {INSTALL}",
            )
        return TaskError(f"verifiers: {error.cause}", next_step=_hint(error.cause))


@cache
def client(python: str | None, pass_env: tuple[str, ...]) -> Client:
    """The client of this process for an interpreter."""
    return Client(python, pass_env)


def _hint(message: str) -> str | None:
    if "ModuleNotFoundError" in message:
        return "Install the environment where task.args.python finds it."
    if "ValidationError" in message:
        return "Correct task.args.env_args, or the other arguments that it names."
    return None
