"""OpenEnvEnvironment: one episode on a server, as a rollout sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenyson.errors import TaskError
from tenyson.tasks import Environment, Observation
from tenyson_openenv.action import ActionReader
from tenyson_openenv.loop import on_loop
from tenyson_openenv.observation import numbers, shown
from tenyson_openenv.pool import Pool
from tenyson_openenv.server import Server
from tenyson_openenv.session import RefusedError, Session, SessionError


class OpenEnvEnvironment(Environment):
    """Holds a slot from `reset` to `close`."""

    def __init__(
        self,
        pool: Callable[[], Pool],
        reader: Callable[[], ActionReader],
        data: Mapping[str, Any],
        show: Sequence[str],
    ) -> None:
        self._pool, self._reader, self._data, self._show = pool, reader, data, show
        self._held: tuple[Server, Session] | None = None
        self._steps = self._refused = 0
        self._done = False
        self._last: dict[str, float] = {}

    async def reset(self) -> Observation | None:
        """Begin the episode. Raises: TaskError: there is no slot, or the server fails."""
        try:
            server, session, answer = await on_loop(self._pool().reset(self._data))
        except SessionError as error:
            raise TaskError(f"the OpenEnv server fails at the reset: {error}") from None
        except RefusedError as error:
            raise TaskError(
                f"the OpenEnv server refuses the reset: {error}", place="task.args.reset"
            ) from None
        self._held = server, session
        if answer.get("done"):
            raise TaskError("the episode is over at its reset")
        text = shown(answer["observation"], self._show)
        return Observation(text) if text else None

    async def step(self, reply: str) -> Observation:
        """The server's answer. An action that it cannot take is told to the model. Raises: TaskError: the server fails."""
        assert self._held is not None
        server, session = self._held
        try:
            answer = await on_loop(session.ask("step", self._reader().read(reply)))
        except RefusedError as error:
            self._refused += 1
            return Observation(f"The action was refused: {error}")
        except SessionError as error:
            server.suspect = True
            raise TaskError(
                f"the OpenEnv server {server.url} fails at step {self._steps + 1}: {error}"
            ) from None
        self._pool().moves()
        self._steps += 1
        self._done = bool(answer.get("done"))
        self._last = numbers(answer["observation"])
        reward = answer.get("reward")
        return Observation(
            shown(answer["observation"], self._show),
            done=self._done,
            reward=float(reward) if isinstance(reward, bool) else reward,
        )

    def info(self) -> Mapping[str, Any]:
        """Steps, refused actions, whether the episode ended, and the numbers of the last observation."""
        return {
            "steps": self._steps,
            "refused": self._refused,
            "done": self._done,
            "observation": self._last,
        }

    async def close(self) -> None:
        """Free the slot."""
        held, self._held = self._held, None
        if held is not None:
            await on_loop(self._pool().close(*held))
