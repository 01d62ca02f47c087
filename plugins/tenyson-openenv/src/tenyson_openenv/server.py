"""Server: one OpenEnv server, at an address or as a process of this job."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import Any

from tenyson.errors import TaskError
from tenyson_openenv.http import bearer, get_json
from tenyson_openenv.settings import OpenEnvSettings

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
"""Variables that a process gets; others may be secrets."""
HEALTH_SECONDS = 5.0


class Server:
    """A server that others run."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url, self.headers = url, headers
        self.sessions = 0
        """Sessions of this process that are open."""
        self.suspect = False
        """Whether an answer was missing."""

    def ensure(self) -> str:
        """Make sure that it runs, as far as that is up to this process. Returns: its address. Raises: TaskError."""
        return self.url

    def describe(self, path: str) -> dict[str, Any]:
        """What it says at /schema or /metadata. Raises: TaskError."""
        url = self.ensure()
        try:
            return get_json(url, path, self.headers, 30)
        except (OSError, ValueError) as error:
            raise TaskError(
                f"the OpenEnv server {url} does not answer at {path}: {error}",
                place="task.args.url",
                next_step="Start it, or correct its address.",
            ) from None

    def end(self) -> None:
        """End what this process has started."""


class LocalServer(Server):
    """A server that is started with the first request, and again if it has ended or hangs."""

    def __init__(self, options: OpenEnvSettings) -> None:
        super().__init__("", {})
        self._options = options
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._output: Any = None
        self._owner = 0
        self.started = 0
        """How many times it was started."""

    def ensure(self) -> str:
        """Raises: TaskError: it does not start."""
        with self._lock:
            if self._owner != os.getpid():
                self._process = None  # a fork's parent ends its own
            if self._process is not None and (
                self._process.poll() is not None or (self.suspect and not self._healthy())
            ):
                self._end()
            if self._process is None:
                self._start()
            self.suspect = False
            return self.url

    def end(self) -> None:
        with self._lock:
            self._end()

    def _start(self) -> None:
        options, port = self._options, _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [word.replace("{port}", str(port)) for word in options.command]
        names = [*PASSED_ON, *options.pass_env]
        environment = {name: os.environ[name] for name in names if name in os.environ} | options.env
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tenyson_openenv.guard", *command],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=options.cwd,
            env=environment | {"PORT": str(port), "PYTHONUNBUFFERED": "1"},
        )
        self.started += 1
        until = time.monotonic() + options.start_seconds
        while not self._healthy():
            code = self._process.poll()
            if code is None and time.monotonic() < until:
                time.sleep(0.05)
                continue
            why = (
                f"does not answer within {options.start_seconds:g} s"
                if code is None
                else f"ended with code {code}"
            )
            tail = self._tail()
            self._end()
            raise TaskError(
                f"the OpenEnv server `{' '.join(command)}` {why}: {tail}",
                place="task.args.command",
                next_step="Try the command in a terminal; it must listen at 127.0.0.1 and the port {port}.",
            )

    def _healthy(self) -> bool:
        try:
            get_json(self.url, "/health", {}, HEALTH_SECONDS)
        except (OSError, ValueError):
            return False
        return True

    def _tail(self) -> str:
        self._output.seek(0)
        lines = self._output.read()[-20_000:].decode(errors="replace").strip().splitlines()
        return str(lines[-1])[:300] if lines else "it says nothing"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._output.close()


def servers(options: OpenEnvSettings) -> list[Server]:
    """Those of the settings; none is started yet. Raises: TaskError: the variable of the key is not set."""
    if options.command:
        return [LocalServer(options) for _ in range(options.processes)]
    headers = bearer(options.api_key_env)
    return [Server(url, headers) for url in options.url]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
