"""SSH: one connection to a machine whose host key is known before the first byte; plain calls over asyncssh's coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shlex
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tenyson.core.sanitize import without_controls
from tenyson.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONNECT_SECONDS = 15.0
KEEPALIVE_SECONDS = 5.0
KEEPALIVES = 3
"""So many unanswered ones end a connection: a network that stalls is noticed after 15 to 20 s."""
CHUNK = 1 << 20
MOST_OUTPUT_BYTES = 16 << 20
"""Of a command whose output is kept whole."""

Value = TypeVar("Value")


class UnreachableError(BackendError):
    """The machine cannot be reached now. That says nothing about the job on it."""


class HostKeyError(BackendError):
    """Whoever answers is not the machine that was rented: nothing was sent to it."""


class CommandError(BackendError):
    """A command on the machine failed."""


class _Loop:
    """The thread in which all connections of this process live."""

    _one: _Loop | None = None
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


class Connection:
    """An open connection. Its calls raise UnreachableError once the network is gone.

    Raises:
        HostKeyError: the answering machine has another host key.
        UnreachableError: nobody answers, or nobody lets us in.
    """

    def __init__(
        self,
        host: str,
        *,
        port: int,
        user: str,
        key: Path,
        host_keys: Iterable[str],
        proxy: Sequence[str] = (),
    ) -> None:
        import asyncssh

        self._sudo = user != "root"
        trusted = [asyncssh.import_public_key(text) for text in host_keys]
        if not trusted:
            raise HostKeyError("the machine's host key is not known")

        async def connect() -> Any:
            return await asyncssh.connect(
                host,
                port,
                username=user,
                client_keys=[str(key)],
                known_hosts=(trusted, [], []),
                config=None,
                agent_path=None,
                preferred_auth="publickey",
                connect_timeout=CONNECT_SECONDS,
                login_timeout=CONNECT_SECONDS,
                keepalive_interval=KEEPALIVE_SECONDS,
                keepalive_count_max=KEEPALIVES,
                proxy_command=list(proxy) or None,
            )

        try:
            self._connection = _Loop.call(connect(), 2 * CONNECT_SECONDS)
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            raise HostKeyError(
                f"whoever answers at {host} has not the host key that the machine's console showed: {error}",
                next_step="Its address may have gone to another machine, or somebody is in between. Nothing was sent.",
            ) from error
        except (OSError, asyncssh.Error) as error:
            raise UnreachableError(f"no SSH connection to {host}: {_words(error)}") from error

    def run(
        self,
        command: Sequence[str],
        *,
        send: bytes = b"",
        seconds: float = 60.0,
        environment: Sequence[str] = (),
    ) -> bytes:
        """Run a command with `send` on its standard input; returns its standard output.

        Raises:
            CommandError: it failed; with the end of what it said.
        """

        async def work() -> _Done:
            process = await self._connection.create_process(self._line(command, environment), encoding=None)
            with contextlib.suppress(BrokenPipeError, OSError):
                process.stdin.write(send)
                process.stdin.write_eof()
            return await _outcome(process)

        with _network():
            done = _Loop.call(work(), seconds)
        _require_success(done, command)
        return done.stdout

    def stream(self, command: Sequence[str], *, send: bytes, seconds: float = 60.0) -> Stream:
        """Start a command whose standard output is read piece by piece; `seconds` may pass between two pieces."""

        async def work() -> Any:
            process = await self._connection.create_process(self._line(command), encoding=None)
            process.stdin.write(send)
            process.stdin.write_eof()
            return process

        with _network():
            return Stream(_Loop.call(work(), seconds), command, seconds)

    def feed(
        self, command: Sequence[str], write: Callable[[io.RawIOBase], None], *, seconds: float = 60.0
    ) -> None:
        """Run a command whose standard input `write` fills, piece by piece.

        Raises: CommandError, UnreachableError.
        """

        async def begin() -> Any:
            return await self._connection.create_process(self._line(command), encoding=None)

        async def end(process: Any) -> Any:
            with contextlib.suppress(BrokenPipeError, OSError):
                process.stdin.write_eof()
            return await _outcome(process)

        with _network():
            process = _Loop.call(begin(), seconds)
            with contextlib.suppress(BrokenPipeError):
                write(_Input(process, seconds))
            done = _Loop.call(end(process), seconds)
        _require_success(done, command)

    def close(self) -> None:
        """End it; what runs on the machine goes on."""

        async def work() -> None:
            self._connection.abort()

        with contextlib.suppress(Exception):
            _Loop.call(work(), 2)

    def _line(self, command: Sequence[str], environment: Sequence[str] = ()) -> str:
        words = [
            *(["sudo", "-n", "--"] if self._sudo else []),
            *(["env", *environment] if environment else []),
            *command,
        ]
        return shlex.join(words)


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
        with _network():
            data = _Loop.call(self._process.stdout.read(len(buffer)), self._seconds)
        buffer[: len(data)] = data
        return len(data)

    def finish(self) -> None:
        """Raises: CommandError, UnreachableError: the command did not end well."""
        with _network():
            done = _Loop.call(_outcome(self._process), self._seconds)
        _require_success(done, self._command)


class _Input(io.RawIOBase):
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

        _Loop.call(work(), self._seconds)
        return len(data)


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """What the connection raises, as an UnreachableError."""
    import asyncssh

    try:
        yield
    except (OSError, asyncssh.Error) as error:
        raise UnreachableError(_words(error)) from error


@dataclass(frozen=True)
class _Done:
    """How a command ended; `returncode` is None where nobody knows."""

    returncode: int | None
    stdout: bytes
    stderr: bytes


async def _outcome(process: Any) -> _Done:
    """Read what a command still says, up to a bound, and wait for its end. Raises: CommandError: it says more than that."""
    stdout, stderr = await asyncio.gather(_read(process, process.stdout), _read(process, process.stderr))
    await process.wait_closed()
    return _Done(process.returncode, stdout, stderr)


async def _read(process: Any, stream: Any) -> bytes:
    found = bytearray()
    while data := await stream.read(CHUNK):
        found += data
        if len(found) > MOST_OUTPUT_BYTES:
            process.close()
            raise CommandError(f"a command on the machine says more than {MOST_OUTPUT_BYTES >> 20} MiB")
    return bytes(found)


def _require_success(done: _Done, command: Sequence[str]) -> None:
    """Raises: CommandError: it failed. UnreachableError: nobody knows."""
    if done.returncode is None:
        raise UnreachableError("the connection ended in the middle of a command")
    if done.returncode != 0:
        said = without_controls(done.stderr[-2000:].decode(errors="replace")).strip()
        raise CommandError(f"`{shlex.join(command)}` failed on the machine: {said or done.returncode}")


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
