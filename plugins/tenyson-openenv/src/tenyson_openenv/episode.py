"""Episode: what a rollout plays on a server. It holds a slot while it is asked something, and until another one needs it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
from tenyson_openenv.server import Server
from tenyson_openenv.session import RefusedError, Session

if TYPE_CHECKING:
    from tenyson_openenv.pool import Pool


class Episode:
    """One reset and the steps after it. All of its methods run on the loop of the connections.

    An episode that gave its slot away is played again, from its reset and its actions, when it is asked for its next step.
    """

    def __init__(self, pool: Pool, data: Mapping[str, Any]) -> None:
        self._pool, self._data = pool, dict(data)
        self._lock = asyncio.Lock()
        self._held: tuple[Server, Session] | None = None
        self._past: list[tuple[dict[str, Any], str]] = []
        """Actions that were taken, and the answers to them."""
        self._began = ""
        self.resumed = 0
        """How many times it was played again."""

    async def reset(self) -> dict[str, Any]:
        """Begin. Raises: TaskError: no slot is free. SessionError, RefusedError."""
        async with self._asking():
            answer = await self._reset()
            self._began = _essence(answer)
            return answer

    async def step(self, action: dict[str, Any]) -> dict[str, Any]:
        """Take an action. Raises: TaskError: it cannot be continued. SessionError, RefusedError."""
        async with self._asking():
            if self._held is None:
                await self._resume()
            answer = await self._ask(action)
            self._past.append((action, _essence(answer)))
            return answer

    async def give_way(self) -> None:
        """Free the slot for another episode."""
        self._pool.forget(self)
        async with self._lock:
            await self._release()

    async def close(self) -> None:
        """Free the slot for good."""
        self._pool.forget(self)
        async with self._lock:
            await self._release()

    @property
    def server(self) -> Server | None:
        """Whose slot it holds."""
        return self._held[0] if self._held else None

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """While it is asked something, it gives no slot away; if that fails, it keeps none."""
        self._pool.forget(self)
        async with self._lock:
            try:
                yield
            except BaseException as error:
                if not isinstance(error, RefusedError):
                    if self._held is not None:
                        self._held[0].suspect = True
                    await self._release()
                raise
            finally:
                if self._held is not None:
                    self._pool.rests(self)

    async def _reset(self) -> dict[str, Any]:
        self._held = await self._pool.slot()
        return await self._held[1].ask("reset", self._data)

    async def _resume(self) -> None:
        self.resumed += 1
        answers = [_essence(await self._reset())]
        for action, _ in self._past:
            answers.append(_essence(await self._ask(action)))
        if answers != [self._began, *(answer for _, answer in self._past)]:
            raise TaskError(
                "the environment does not repeat itself: with the same seed and actions it answers otherwise, and there are fewer "
                "slots than episodes at once",
                next_step="Let the server have more slots, give more servers in task.args.url, or more task.args.processes.",
            )

    async def _ask(self, action: dict[str, Any]) -> dict[str, Any]:
        assert self._held is not None
        return await self._held[1].ask("step", action)

    async def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await self._pool.free(*held)


def _essence(answer: Mapping[str, Any]) -> str:
    """What must be the same again: not the metadata, which may hold times."""
    observation = {name: value for name, value in answer["observation"].items() if name != "metadata"}
    return json.dumps([observation, answer.get("reward"), answer.get("done")], sort_keys=True)
