"""Channels: the thread in which connections live, and the standard input and output of a command as files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shlex
import threading
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tenyson.cloud.remote.ssh.errors import CommandError, UnreachableError
from tenyson.core.sanitize import without_controls

CHUNK = 1 << 20
MOST_OUTPUT_BYTES = 16 << 20
"""Of a command whose output is kept whole."""

Value = TypeVar("Value")


class Loop:
    """The thread in which all connections of this process live."""

    _one: Loop | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="ssh", daemon=True).start()

    @classmethod
    def call(cls, work: Coroutine[Any, Any, Value], seconds: float | None = None) -> Value:
        """Raises: UnreachableError: it took longer."""
        with cls._lock:
            cls._one = cls._one or cls()
        future = asyncio.run_coroutine_threadsafe(work, cls._one.loop)
        try:
            return future.result(seconds)
        except TimeoutError as error:
            future.cancel()
            raise UnreachableError(f"the machine did not answer within {seconds:.0f} s") from error


class Stream(io.RawIOBase):
    """The standard output of a command, as a file that is read once."""

    def __init__(self, process: Any, command: Sequence[str], seconds: float) -> None:
        self._process = process
        self._command = command
        self._seconds = seconds

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """At most what fits; 0 at the end. Raises: UnreachableError."""
        with network():
            data = Loop.call(self._process.stdout.read(len(buffer)), self._seconds)
        buffer[: len(data)] = data
        return len(data)

    def finish(self) -> None:
        """Raises: CommandError, UnreachableError: the command failed, or nobody knows."""
        with network():
            done = Loop.call(outcome(self._process), self._seconds)
        require_success(done, self._command)


class Input(io.RawIOBase):
    """The standard input of a command; writing waits while the network is slower."""

    def __init__(self, process: Any, seconds: float) -> None:
        self._process = process
        self._seconds = seconds

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def write(self, data: Any) -> int:
        """All of it."""

        async def work() -> None:
            self._process.stdin.write(bytes(data))
            await self._process.stdin.drain()

        Loop.call(work(), self._seconds)
        return len(data)


@contextlib.contextmanager
def network() -> Iterator[None]:
    """What the connection raises, as an UnreachableError."""
    import asyncssh

    try:
        yield
    except (OSError, asyncssh.Error) as error:
        raise UnreachableError(words_of(error)) from error


@dataclass(frozen=True)
class Done:
    """The exit status of a command, None where nobody knows, and its output."""

    returncode: int | None
    stdout: bytes
    stderr: bytes


async def outcome(process: Any) -> Done:
    """Read what a command still says, up to a bound, and wait for its end. Raises: CommandError: it says more than that."""
    stdout, stderr = await asyncio.gather(_read(process, process.stdout), _read(process, process.stderr))
    await process.wait_closed()
    return Done(process.returncode, stdout, stderr)


async def _read(process: Any, stream: Any) -> bytes:
    found = bytearray()
    while data := await stream.read(CHUNK):
        found += data
        if len(found) > MOST_OUTPUT_BYTES:
            process.close()
            raise CommandError(f"a command on the machine says more than {MOST_OUTPUT_BYTES >> 20} MiB")
    return bytes(found)


def require_success(done: Done, command: Sequence[str]) -> None:
    """Raises: CommandError: it failed. UnreachableError: nobody knows."""
    if done.returncode is None:
        raise UnreachableError("the connection ended in the middle of a command")
    if done.returncode != 0:
        said = without_controls(done.stderr[-2000:].decode(errors="replace")).strip()
        raise CommandError(f"`{shlex.join(command)}` failed on the machine: {said or done.returncode}")


def words_of(error: BaseException) -> str:
    """Its message, or at least its class."""
    return str(error) or type(error).__name__
