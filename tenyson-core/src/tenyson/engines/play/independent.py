"""Independent play: each conversation continues as soon as its own reply is there, without waiting for the longest.

Shape legend: B conversations under way at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from tenyson.engines.endpoint.agents.game import AgentGame
from tenyson.engines.endpoint.games import Games
from tenyson.engines.engine import ContinuousEngine, Reply, Sampling, request_seed
from tenyson.engines.play import Trajectory, give_up
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.limits import USUAL, Limits
from tenyson.engines.rollouts.rollout import Game
from tenyson.engines.rollouts.side_by_side import Ended, SideBySide
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.sample import Sample


def play_independently(
    task: TaskPlugin,
    samples: Sequence[Sample],
    renderer: Renderer,
    engine: ContinuousEngine,
    sampling: Sampling,
    *,
    max_turns: int,
    batch_size: int,
    between: Callable[[], None] = lambda: None,
    limits: Limits = USUAL,
) -> Iterator[list[Trajectory]]:
    """Play one conversation on each sample, `batch_size` (B) of them at once; yield them batch by batch, in order.

    A conversation begins as soon as one before it has ended, in the order of the samples. A batch is yielded when all of
    its conversations have ended, so that what a caller keeps never prefers short ones. The seed of each reply is that of
    `sampling`, the conversation's index and its turn: the order in which replies come reaches no random number.

    Args:
        between: called after each reply; what it raises ends the play, and what is under way is dropped.
    """
    conversations = Conversations(task, samples, renderer, engine, sampling, max_turns, limits)
    try:
        for start in range(0, len(samples), batch_size):
            batch = range(start, min(start + batch_size, len(samples)))
            while not conversations.ended(batch):
                conversations.fill(batch_size)
                replies = engine.finished()
                for index, reply in replies:
                    conversations.take(index, reply)
                    between()
                conversations.settle(wait=not replies)
            yield conversations.collect(batch)
    finally:
        engine.drop()
        conversations.close()


class Conversations:
    """All conversations by their index: waiting, under way or ended."""

    def __init__(
        self,
        task: TaskPlugin,
        samples: Sequence[Sample],
        renderer: Renderer,
        engine: ContinuousEngine,
        sampling: Sampling,
        max_turns: int,
        limits: Limits,
    ) -> None:
        self._samples, self._engine, self._sampling = samples, engine, sampling
        self._side = SideBySide(limits.concurrency)
        self._opened = Games(task, renderer, max_turns, limits)
        self._waiting = deque(range(len(samples)))
        self._games: dict[int, Game | AgentGame] = {}
        self._calling: dict[Hashable, tuple[int, int]] = {}
        """Calls under way: the conversation, and the number of the call in its work."""
        self._came: dict[int, list[Ended | None]] = {}
        """What the calls of each conversation's work came to."""
        self._ended: dict[int, Trajectory] = {}

    def ended(self, batch: range) -> bool:
        return all(index in self._ended for index in batch)

    def collect(self, batch: range) -> list[Trajectory]:
        return [self._ended.pop(index) for index in batch]

    def begin(self, sample: Sample) -> Game | AgentGame:
        """A rollout on a sample."""
        return self._opened.begin(sample)

    def fill(self, at_once: int) -> None:
        """Begin the next conversations, until `at_once` are under way."""
        while self._waiting and len(self._games) < at_once:
            index = self._waiting.popleft()
            self._games[index] = self.begin(self._samples[index])
            self._go_on(index)

    def take(self, index: int, reply: Reply) -> None:
        """Continue a conversation that has its reply."""
        self._games[index].take(reply)
        self._go_on(index)

    def settle(self, *, wait: bool, seconds: float | None = None) -> None:
        """Continue conversations whose calls have all ended.

        Args:
            wait: for one call at least, where any is under way, `seconds` at most.
        """
        for ended in self._side.take(wait_for=int(wait), seconds=seconds):
            index, number = self._calling.pop(ended.key)
            came = self._came[index]
            came[number] = ended
            whole = [one for one in came if one is not None]
            if len(whole) == len(came):
                del self._came[index]
                self._games[index].settle(whole)
                self._go_on(index)

    def close(self) -> None:
        """End the conversations that are under way."""
        with closing(self._side), self._opened:
            give_up(self._side, self._games.values())

    def _go_on(self, index: int) -> None:
        """Start what a conversation wants next, or note that it has ended."""
        game = self._games[index]
        if game.work:
            self._came[index] = [None] * len(game.work)
            self._calling |= {call.key: (index, number) for number, call in enumerate(game.work)}
            self._side.start(*game.work)
        elif game.waits:
            seed = request_seed(self._sampling.seed, index, game.turns)
            self._ask(index, game, replace(self._sampling, seed=seed))
        else:
            del self._games[index]
            self._ended[index] = game.trajectory()

    def _ask(self, index: int, game: Game | AgentGame, sampling: Sampling) -> None:
        """Have the reply made that a conversation waits for."""
        self._engine.add(index, game.asks, sampling)
