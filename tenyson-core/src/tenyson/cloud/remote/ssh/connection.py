"""SSH: one connection to a machine whose host key is known before the first byte; plain calls over asyncssh's coroutines."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tenyson.cloud.remote.ssh.channel import (
    Done,
    Input,
    Loop,
    Stream,
    network,
    outcome,
    require_success,
    words_of,
)
from tenyson.cloud.remote.ssh.errors import HostKeyError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONNECT_SECONDS = 15.0
KEEPALIVE_SECONDS = 5.0
KEEPALIVES = 3
"""So many unanswered ones end a connection: a network that stalls is noticed after 15 to 20 s."""


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
            self._connection = Loop.call(connect(), 2 * CONNECT_SECONDS)
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            raise HostKeyError(
                f"whoever answers at {host} has not the host key that the machine's console showed: {error}",
                next_step="Its address may have gone to another machine, or somebody is in between. Nothing was sent.",
            ) from error
        except (OSError, asyncssh.Error) as error:
            raise UnreachableError(f"no SSH connection to {host}: {words_of(error)}") from error

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

        async def work() -> Done:
            process = await self._connection.create_process(self._line(command, environment), encoding=None)
            with contextlib.suppress(BrokenPipeError, OSError):
                process.stdin.write(send)
                process.stdin.write_eof()
            return await outcome(process)

        with network():
            done = Loop.call(work(), seconds)
        require_success(done, command)
        return done.stdout

    def stream(self, command: Sequence[str], *, send: bytes, seconds: float = 60.0) -> Stream:
        """Start a command whose standard output is read piece by piece; `seconds` may pass between two pieces."""

        async def work() -> Any:
            process = await self._connection.create_process(self._line(command), encoding=None)
            process.stdin.write(send)
            process.stdin.write_eof()
            return process

        with network():
            return Stream(Loop.call(work(), seconds), command, seconds)

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
            return await outcome(process)

        with network():
            process = Loop.call(begin(), seconds)
            with contextlib.suppress(BrokenPipeError):
                write(Input(process, seconds))
            done = Loop.call(end(process), seconds)
        require_success(done, command)

    def close(self) -> None:
        """Close it; processes on the machine keep running."""

        async def work() -> None:
            self._connection.abort()

        with contextlib.suppress(Exception):
            Loop.call(work(), 2)

    def _line(self, command: Sequence[str], environment: Sequence[str] = ()) -> str:
        parts = [
            *(["sudo", "-n", "--"] if self._sudo else []),
            *(["env", *environment] if environment else []),
            *command,
        ]
        return shlex.join(parts)
