"""Pool: the servers of a task, and the slots of them that this process holds."""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from tenyson.errors import TaskError
from tenyson_openenv.server import Server, servers
from tenyson_openenv.session import NoSlotError, Session, SessionError
from tenyson_openenv.settings import OpenEnvSettings

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two attempts to get a slot."""


class Pool:
    """Opens sessions on whichever server has a slot. Its sessions live on one event loop."""

    def __init__(self, options: OpenEnvSettings) -> None:
        self._options = options
        self._servers = servers(options)
        self._moved = 0.0
        atexit.register(self.end)

    @property
    def first(self) -> Server:
        """The one that is asked what all of them serve."""
        return self._servers[0]

    def start(self) -> None:
        """Start those that are processes, side by side. Raises: TaskError."""
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda one: one.ensure(), self._servers))

    def moves(self) -> None:
        """An episode of this process has got on, so that a slot may become free."""
        self._moved = time.monotonic()

    async def reset(self, data: Mapping[str, Any]) -> tuple[Server, Session, dict[str, Any]]:
        """A session that was reset, and its answer. Waits for a slot as long as episodes of this process get on.

        Raises:
            TaskError: no slot became free. SessionError.
        """
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            for server in sorted(self._servers, key=lambda one: one.sessions):
                url = await asyncio.to_thread(server.ensure)
                session = await self._opened(server, url)
                try:
                    answer = await session.ask("reset", data)
                except NoSlotError as error:
                    await session.close()
                    full = f"{url}: {error}"
                except BaseException:
                    server.suspect = True
                    await session.close()
                    raise
                else:
                    server.sessions += 1
                    self.moves()
                    return server, session, answer
            if time.monotonic() - max(began, self._moved) > self._options.slot_seconds:
                raise self._no_slot(full)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 1.5 * pause)

    async def close(self, server: Server, session: Session) -> None:
        """Free a session's slot."""
        try:
            await session.close()
        finally:
            server.sessions -= 1
            self.moves()

    def end(self) -> None:
        """End the processes that were started."""
        for server in self._servers:
            server.end()

    async def _opened(self, server: Server, url: str) -> Session:
        try:
            return await Session.open(url, server.headers, self._options.step_seconds)
        except SessionError as error:
            server.suspect = True
            raise SessionError(f"{url}: {error}") from None

    def _no_slot(self, full: str) -> TaskError:
        own = sum(server.sessions for server in self._servers)
        return TaskError(
            f"no slot is free ({full}); this job holds {own} of them, and none of its episodes gets on without another one",
            next_step="Let the server have more slots, give more servers in task.args.url, or more task.args.processes.",
        )


@cache
def _pool(text: str) -> Pool:
    return Pool(OpenEnvSettings.model_validate_json(text))


def pool_of(options: OpenEnvSettings) -> Pool:
    """The pool of this process for the servers of the settings: two tasks share it. Raises: TaskError."""
    names = {"url", "command", "processes", "cwd", "env", "pass_env", "api_key_env"}
    names |= {"step_seconds", "slot_seconds", "start_seconds"}
    return _pool(options.model_dump_json(include=names, exclude_unset=True))
