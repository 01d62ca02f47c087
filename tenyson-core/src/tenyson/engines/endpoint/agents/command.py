"""Runs an agent's command: one process with what it starts, ended as a whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from typing import IO, Any

from tenyson.engines.endpoint.agents.watchdog import WATCHDOG
from tenyson.errors import TaskError
from tenyson.tasks.agent import AgentCommand, Endpoint
from tenyson.tasks.checks import LONGEST
from tenyson.tasks.sample import Sample

LARGEST_OUTPUT = 64 * 2**20
"""Bytes of each stream; a program that prints more is ended."""
ERRORS = 2_000
"""Characters of the standard error that an error shows."""
_GRACE_SECONDS = 2.0
_LOOK_SECONDS = 0.2


def run_command(command: AgentCommand, sample: Sample, endpoint: Endpoint, cancelled: threading.Event) -> Any:
    """Run it to its end; returns what it printed, read as JSON where it is JSON.

    Raises:
        TaskError: it cannot start, exits with another status than 0, or prints too much.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(json.dumps(_plain(sample), ensure_ascii=False).encode("utf-8", "replace"))
        given.seek(0)
        try:
            process = subprocess.Popen(
                list(command.arguments),
                stdin=given,
                stdout=out,
                stderr=err,
                env=_environment(command, endpoint),
                cwd=command.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise TaskError(f"the agent's command cannot start: {error}") from None
        try:
            WATCHDOG.watch(process.pid)
            _wait(process, (out, err), cancelled)
        finally:
            _end_group(process)
            WATCHDOG.forget(process.pid)
        if process.returncode and not cancelled.is_set():
            said = _tail(err, ERRORS).replace(endpoint.api_key, "***").strip()
            raise TaskError(
                f"the agent's command exited with status {process.returncode}" + (f": {said}" if said else "")
            )
        return _result(out)


def _environment(command: AgentCommand, endpoint: Endpoint) -> dict[str, str]:
    own = {
        "OPENAI_BASE_URL": endpoint.base_url,
        "OPENAI_API_KEY": endpoint.api_key,
        "PYTHONUNBUFFERED": "1",
    }
    # A proxy of this machine would be asked for its own loopback.
    for name in ("NO_PROXY", "no_proxy"):
        own[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))
    return {**os.environ, **own, **command.env}


def _plain(sample: Sample) -> dict[str, Any]:
    return {"id": sample.id, "prompt": list(sample.prompt), "data": dict(sample.data)}


def _wait(
    process: subprocess.Popen[bytes], streams: tuple[IO[bytes], ...], cancelled: threading.Event
) -> None:
    while not cancelled.is_set():
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
        if any(os.fstat(stream.fileno()).st_size > LARGEST_OUTPUT for stream in streams):
            raise TaskError(f"the agent's command printed more than {LARGEST_OUTPUT // 2**20} MiB")
        if process.returncode is not None:
            return


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the process, and what it has left running."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        until = time.monotonic() + _GRACE_SECONDS
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _result(out: IO[bytes]) -> Any:
    size = os.fstat(out.fileno()).st_size
    if size > 4 * LONGEST:
        return _tail(out, LONGEST)
    out.seek(0)
    text = out.read().decode("utf-8", "replace").strip()
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return text


def _tail(stream: IO[bytes], characters: int) -> str:
    size = os.fstat(stream.fileno()).st_size
    stream.seek(max(0, size - 4 * characters))
    return stream.read().decode("utf-8", "replace")[-characters:]
