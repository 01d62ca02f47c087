"""GameEnvironment: one game in the worker, as a rollout sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tenyson.errors import TaskError
from tenyson.tasks import Environment, Observation
from tenyson_textarena.outcome import UNFINISHED
from tenyson_textarena.setup import Setup
from tenyson_textarena.worker.client import worker


class GameEnvironment(Environment):
    """Plays one game. Nothing is dealt before `reset`.

    The replies so far are sent with each step, so that another worker can take over if one ends.
    """

    def __init__(self, setup: Setup, opening: str, read: Callable[[str], str]) -> None:
        self._setup, self._opening, self._read = setup, opening, read
        self._key: str | None = None
        self._moves: list[str] = []
        self._over: dict[str, Any] | None = None

    def reset(self) -> None:
        """Deal the game whose opening the sample shows. Raises: TaskError: it is another one."""
        found = worker().begin(self._setup)
        self._key = found["key"]
        if found["text"] != self._opening:
            raise TaskError(
                f"{self._setup.game} with the seed {self._setup.seed} begins otherwise than when the sample was made",
                next_step="Use the version of textarena that the samples were made with.",
            )

    def step(self, reply: str) -> Observation:
        """The game's answer, after the opponent's move where there is one. Raises: TaskError: the game failed."""
        self._moves.append(self._read(reply))
        found = worker().step(str(self._key), self._setup, self._moves)
        if found["over"] is None:
            return Observation(found["text"])
        self._over = found["over"]
        return Observation(done=True, reward=self._over["reward"])

    def info(self) -> Mapping[str, Any]:
        """The outcome; `reward` is None where the game is not over."""
        return {"game": self._setup.game, "seat": self._setup.seat, **(self._over or UNFINISHED)}

    def close(self) -> None:
        """Forget the game in the worker."""
        if self._key is not None:
            worker().close(self._key)
