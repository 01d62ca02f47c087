"""Pool: the servers of a task, and the slots of them that this process holds."""

from __future__ import annotations

import asyncio
import atexit
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from tenyson.errors import TaskError
from tenyson_openenv.episode import Episode
from tenyson_openenv.server import Server, servers
from tenyson_openenv.session import NoSlotError, Session, SessionError
from tenyson_openenv.settings import OpenEnvSettings

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two attempts to get a slot, unless an episode moves on before."""


class Pool:
    """Finds slots for episodes. Its coroutines run on one event loop."""

    def __init__(self, options: OpenEnvSettings) -> None:
        self._options = options
        self._servers = servers(options)
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._moved = 0.0
        self._resting: dict[Episode, None] = {}
        """Episodes that hold a slot and are not asked anything; the one that rests longest first."""
        self._sharing = False
        """Whether resting episodes give their slots away at once."""
        atexit.register(self.end)

    @property
    def first(self) -> Server:
        """The one that is asked what all of them serve."""
        return self._servers[0]

    def start(self) -> None:
        """Start those that are processes, side by side. Raises: TaskError."""
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda one: one.ensure(), self._servers))

    def end(self) -> None:
        """End the processes that were started."""
        for server in self._servers:
            server.end()

    def rests(self, episode: Episode) -> None:
        """An episode was answered: it may give its slot to another one."""
        self._resting[episode] = None
        self._moves()

    def forget(self, episode: Episode) -> None:
        """An episode is asked something, or closed."""
        self._resting.pop(episode, None)

    async def slot(self) -> tuple[Server, Session]:
        """A session that has a slot, in the order in which they are asked for.

        Episodes of this process get on, as a rule, and free theirs. If none does for `slot_seconds`, as where all wait for the
        replies of one batch, those that rest give theirs away from then on.

        Raises:
            TaskError: no slot became free. SessionError.
        """
        async with self._turn:
            began, pause = time.monotonic(), FIRST_PAUSE
            while True:
                self._news.clear()
                found, full = await self._attempt()
                if found is not None:
                    return found
                stalled = time.monotonic() - max(began, self._moved) > self._options.slot_seconds
                if self._resting and (self._sharing or stalled):
                    self._sharing = True
                    await next(iter(self._resting)).give_way()
                elif stalled:
                    raise self._no_slot(full)
                else:
                    await self._wait(pause)
                    pause = min(LONGEST_PAUSE, 1.5 * pause)

    async def free(self, server: Server, session: Session) -> None:
        """Free an episode's slot."""
        await self._close(server, session)
        self._moves()

    async def _attempt(self) -> tuple[tuple[Server, Session] | None, str]:
        """A session on one of the servers; or why there is none. Raises: SessionError, TaskError."""
        full = ""
        for server in sorted(self._servers, key=lambda one: (one.suspect, one.sessions)):
            url = await asyncio.to_thread(server.ensure)
            try:
                session = await Session.open(url, server.headers, self._options.step_seconds)
            except SessionError as error:
                server.suspect = True
                raise SessionError(f"{url}: {error}") from None
            server.sessions += 1
            try:
                await session.probe()
            except NoSlotError as error:
                await self._close(server, session)
                full = f"{url}: {error}"
            except BaseException:
                server.suspect = True
                await self._close(server, session)
                raise
            else:
                server.suspect = False
                return (server, session), ""
        return None, full

    async def _close(self, server: Server, session: Session) -> None:
        try:
            await session.close()
        finally:
            server.sessions -= 1

    async def _wait(self, seconds: float) -> None:
        """For an episode to move on, but no longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    def _moves(self) -> None:
        self._moved = time.monotonic()
        self._news.set()

    def _no_slot(self, full: str) -> TaskError:
        return TaskError(
            f"no slot is free ({full}), and this job holds none that it could free",
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
