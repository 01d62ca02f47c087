"""Session: one episode on a server, over a WebSocket that holds one of its slots."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tenyson_openenv.http import is_local

LARGEST = 16 << 20
"""Bytes of one message."""
CLOSE_SECONDS = 2.0
"""How long the server may take to free the slot."""


class NoSlotError(Exception):
    """All slots of the server are taken."""


class RefusedError(Exception):
    """The server refuses an action: it does not fit the schema."""


class SessionError(Exception):
    """The server fails, or does not answer as OpenEnv does."""


class Session:
    """A connection. Close it: until then it may hold a slot."""

    def __init__(self, connection: ClientConnection, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds

    @classmethod
    async def open(cls, url: str, headers: Mapping[str, str], seconds: float) -> Session:
        """Connect. Raises: SessionError."""
        address = url.replace("http://", "ws://", 1).replace("https://", "wss://", 1).rstrip("/") + "/ws"
        proxy: Any = {"proxy": None} if is_local(url) else {}
        try:
            connection = await connect(
                address,
                additional_headers=dict(headers),
                open_timeout=seconds,
                close_timeout=CLOSE_SECONDS,
                max_size=LARGEST,
                **proxy,
            )
        except (OSError, WebSocketException, TimeoutError) as error:
            raise SessionError(f"cannot connect: {_words(error)}") from None
        return cls(connection, seconds)

    async def ask(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Send `reset` or `step`, and return `observation`, `reward` and `done`.

        Raises:
            NoSlotError, RefusedError, SessionError.
        """
        answer = await self._exchange({"type": kind, "data": dict(data)})
        found = answer.get("data")
        if not isinstance(found, dict):
            raise SessionError(f"the answer to {kind} is no message of OpenEnv: {str(answer)[:80]!r}")
        if answer.get("type") == "error":
            raise _error(found)
        if answer.get("type") != "observation" or not isinstance(found.get("observation"), dict):
            raise SessionError(
                f"the answer to {kind} has no observation, but the type {answer.get('type')!r}"
            )
        return found

    async def probe(self) -> None:
        """Learn whether it has a slot: a server without one says so to whatever it is asked.

        Raises:
            NoSlotError, SessionError.
        """
        answer = await self._exchange({"type": "state"})
        data = answer.get("data")
        if answer.get("type") == "error" and isinstance(data, dict):
            error = _error(data)
            if isinstance(error, NoSlotError) or data.get("code") in ("FACTORY_ERROR", "SESSION_ERROR"):
                raise error

    async def _exchange(self, message: Mapping[str, Any]) -> dict[str, Any]:
        kind = message["type"]
        try:
            async with asyncio.timeout(self._seconds):
                # A server that closes at once has said why: that is read all the same.
                with suppress(ConnectionClosed):
                    await self._connection.send(json.dumps(message))
                text = await self._connection.recv()
            answer = json.loads(text)
        except TimeoutError:
            raise SessionError(f"no answer to {kind} within {self._seconds:g} s") from None
        except (OSError, WebSocketException) as error:
            raise SessionError(f"connection lost: {_words(error)}") from None
        except (ValueError, RecursionError) as error:
            raise SessionError(f"the answer to {kind} is no JSON: {_words(error)}") from None
        if not isinstance(answer, dict):
            raise SessionError(f"the answer to {kind} is no message of OpenEnv: {str(text)[:80]!r}")
        return answer

    async def close(self) -> None:
        """Free the slot, and wait until the server has done so; not for ever."""
        try:
            with suppress(OSError, WebSocketException, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._connection.send(json.dumps({"type": "close"}))
                    # The server closes the connection once it has closed the environment.
                    while True:
                        await self._connection.recv()
        finally:
            self._connection.transport.abort()


def _error(data: Mapping[str, Any]) -> Exception:
    code, message = str(data.get("code")), str(data.get("message", ""))[:500]
    if code == "CAPACITY_REACHED":
        return NoSlotError(message)
    if code == "VALIDATION_ERROR":
        listed = data.get("errors")
        errors = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        words = [f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg')}" for one in errors]
        return RefusedError("; ".join(words)[:500] or message)
    return SessionError(f"{code}: {message}")


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
