"""OpenEnvEnvironment: one episode on a server, as a rollout sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenyson.errors import TaskError
from tenyson.tasks import Environment, Observation
from tenyson_openenv.action import ActionReader
from tenyson_openenv.episode import Episode
from tenyson_openenv.loop import on_loop
from tenyson_openenv.observation import numbers, shown
from tenyson_openenv.pool import Pool
from tenyson_openenv.session import RefusedError, SessionError


class OpenEnvEnvironment(Environment):
    """An episode from `reset` to `close`."""

    def __init__(
        self,
        pool: Callable[[], Pool],
        reader: Callable[[], ActionReader],
        data: Mapping[str, Any],
        show: Sequence[str],
    ) -> None:
        self._pool, self._reader, self._data, self._show = pool, reader, data, show
        self._episode: Episode | None = None
        self._steps = self._refused = 0
        self._done = False
        self._last: dict[str, float] = {}

    async def reset(self) -> Observation | None:
        """Begin the episode. Raises: TaskError: there is no slot, or the server fails."""
        self._episode = Episode(self._pool(), self._data)
        try:
            answer = await on_loop(self._episode.reset())
        except SessionError as error:
            raise TaskError(f"the OpenEnv server fails at the reset: {error}") from None
        except RefusedError as error:
            raise TaskError(
                f"the OpenEnv server refuses the reset: {error}", place="task.args.reset"
            ) from None
        if answer.get("done"):
            raise TaskError("the episode is over at its reset")
        text = shown(answer["observation"], self._show)
        return Observation(text) if text else None

    async def step(self, reply: str) -> Observation:
        """The server's answer. An action that it cannot take is told to the model. Raises: TaskError: the server fails."""
        assert self._episode is not None
        try:
            answer = await on_loop(self._episode.step(self._reader().read(reply)))
        except RefusedError as error:
            self._refused += 1
            return Observation(f"The action was refused: {error}")
        except SessionError as error:
            raise TaskError(f"the OpenEnv server fails at step {self._steps + 1}: {error}") from None
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
        """Steps, refused actions, how often it was played again for want of a slot, whether it ended, and the last numbers."""
        return {
            "steps": self._steps,
            "refused": self._refused,
            "resumed": self._episode.resumed if self._episode else 0,
            "done": self._done,
            "observation": self._last,
        }

    async def close(self) -> None:
        """Free the slot."""
        episode, self._episode = self._episode, None
        if episode is not None:
            await on_loop(episode.close())
