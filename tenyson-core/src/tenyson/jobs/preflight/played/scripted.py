"""A rollout whose replies are written beforehand: a task can be tried with it before there is a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tenyson.engines.chat.chat_engine import ChatReply
from tenyson.engines.chat.chat_game import ChatGame
from tenyson.engines.chat.chat_renderer import ChatRenderer
from tenyson.engines.endpoint.agents.game import AgentGame
from tenyson.engines.endpoint.games import Games
from tenyson.engines.engine import Reply
from tenyson.engines.renderers.parsed import Parsed
from tenyson.engines.rollouts.fault import Fault
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.rollout import Game
from tenyson.engines.rollouts.side_by_side import Call, Ended, SideBySide
from tenyson.tasks.checks import CLOSE_SECONDS
from tenyson.tasks.environment import Environment
from tenyson.tasks.rollout import Rollout

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.tasks.plugin import TaskPlugin
    from tenyson.tasks.sample import Sample

PATIENT_SECONDS = 120.0
"""For one call where `rollouts.step_seconds` sets no limit, and for all turns of one rollout: it is tried, not measured."""


class ScriptedRollout:
    """One rollout, as jobs play it: with their limits, tried again as often, and its environment closed exactly once.

    Leave it as a context, which closes the environment of one that is not over.
    """

    def __init__(self, task: TaskPlugin, sample: Sample, renderer: Renderer, config: Config) -> None:
        """Begin: make and reset the environment. Raises: ModelError: the prompt cannot be rendered."""
        self._configured = Limits.from_config(config)
        limits = replace(
            self._configured,
            step_seconds=self._configured.step_seconds or PATIENT_SECONDS,
            retries=max(1, self._configured.retries),
        )
        self._renderer = renderer
        self._chats = isinstance(renderer, ChatRenderer)
        self.close_fault: Fault | None = None
        """Why the environment could not be closed."""
        self._until = monotonic() + PATIENT_SECONDS
        self._side = SideBySide(limits.concurrency)
        self._games = Games(task, renderer, config.generation.max_turns, limits)
        self._game: Game | AgentGame
        try:
            if self._chats:
                self._game = ChatGame(task, sample, renderer, config.generation.max_turns, limits)
            else:
                self._game = self._games.begin(sample)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        try:
            self._work()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def waits(self) -> bool:
        """Whether it waits for a reply; else it is over."""
        return self._game.waits

    @property
    def environment(self) -> Environment | None:
        """The one that was made last; None for a single turn, and of an agent."""
        return self._game.environment if isinstance(self._game, Game) else None

    @property
    def sample(self) -> Sample:
        """With what the environment's reset has added."""
        return self._game.sample

    def play(self, replies: Sequence[str]) -> Rollout | None:
        """Play it to its end, with the last reply for all further turns; None where that takes too long."""
        while self._game.waits:
            if monotonic() > self._until:
                return None
            text = replies[min(self._game.turns, len(replies) - 1)]
            self._game.take(self._reply(text))
            self._work()
        return self._game.trajectory().rollout

    def run(self, calls: Sequence[Call]) -> list[Ended]:
        """Run calls of tools, with the same limits."""
        return self._side.run(calls)

    def _reply(self, text: str) -> Any:
        if self._chats:
            return ChatReply(Parsed(text), "stop")
        ids = self._renderer.reply(text)
        return Reply(ids, "stop", [0.0] * len(ids))

    def _work(self) -> None:
        while self._game.work:
            self._game.settle(
                self._closed(self._game.work) if self._game.closing else self.run(self._game.work)
            )

    def _closed(self, calls: Sequence[Call]) -> list[Ended]:
        for call in calls:
            call.seconds = self._configured.step_seconds or CLOSE_SECONDS
        ended = self.run(calls)
        self.close_fault = next((one.fault for one in ended if one.fault), self.close_fault)
        return ended

    def _end(self) -> None:
        try:
            if not self._game.over:
                self._closed(self._game.give_up())
        finally:
            self._close()

    def _close(self) -> None:
        self._games.close()
        self._side.close()
