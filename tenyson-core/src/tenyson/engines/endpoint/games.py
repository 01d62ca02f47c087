"""Begins rollouts: of a task's environment and tools, or of its agent."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tenyson.engines.endpoint.agents.game import AgentGame
from tenyson.engines.endpoint.server import EndpointServer
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.rollout import Game
from tenyson.tasks.checks import has_agent
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.sample import Sample


class Games:
    """Begins the rollouts of one play. Where the task has an agent, they share a server, which is closed with the play."""

    def __init__(self, task: TaskPlugin, renderer: Renderer, max_turns: int, limits: Limits) -> None:
        self._task, self._renderer, self._max_turns, self._limits = task, renderer, max_turns, limits
        self._server = EndpointServer() if has_agent(task) else None

    def begin(self, sample: Sample) -> Game | AgentGame:
        """A rollout on a sample."""
        shared = self._renderer, self._max_turns, self._limits
        if self._server is None:
            return Game(self._task, sample, *shared)
        return AgentGame(self._task, sample, *shared, self._server)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the server, where there is one."""
        if self._server is not None:
            self._server.close()
