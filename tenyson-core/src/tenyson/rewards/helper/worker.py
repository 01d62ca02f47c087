"""The helper process: reads requests from its standard input, a socket, and answers each of them there.

A request that computes for too long is ended by the kernel: the default action of SIGPROF ends the process, in the middle of
any C code.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import socket
import sys
from typing import Any

MEMORY = 4 << 30
"""Bytes of address space."""


def main() -> None:
    """Serve until the other end closes."""
    connection = socket.socket(fileno=0)
    try:
        if sys.argv[1]:
            importlib.import_module(sys.argv[1])
        operations = importlib.import_module("tenyson.rewards.helper.operations")
    except Exception as error:
        _send(connection, f"{type(error).__name__}: {error}")
        return
    _limit()
    _send(connection, "ready")
    while (length := _read(connection, 8)) is not None:
        body = _read(connection, int.from_bytes(length, "big"))
        if body is None:
            return
        operation, seconds, arguments = json.loads(body)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer: dict[str, Any] = {"value": getattr(operations, operation)(**arguments)}
        except (MemoryError, RecursionError):
            answer = {}
        except Exception as error:
            answer = {"fault": f"{type(error).__name__}: {error}"[:500]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(connection, answer)


def _limit() -> None:
    import resource

    # Not every system has this limit.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _send(connection: socket.socket, answer: Any) -> None:
    body = json.dumps(answer).encode()
    connection.sendall(len(body).to_bytes(8, "big") + body)


def _read(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    main()
