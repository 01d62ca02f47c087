"""Play: carries many conversations forward together, turn by turn, until each one ends.

Shape legend: B conversations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import count, islice

from tenyson.engines.endpoint.agents.game import AgentGame
from tenyson.engines.endpoint.games import Games
from tenyson.engines.engine import Reply
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.limits import USUAL, Limits
from tenyson.engines.rollouts.rollout import Game, Trajectory
from tenyson.engines.rollouts.side_by_side import SideBySide
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.sample import Sample

__all__ = ["Generate", "Trajectory", "play"]

Generate = Callable[[list[list[int]], int], list[Reply]]
"""Takes B prompts of token ids and the number of the turn (from 0), gives B replies."""


def play(
    task: TaskPlugin,
    samples: Sequence[Sample],
    renderer: Renderer,
    generate: Generate,
    *,
    max_turns: int,
    limits: Limits = USUAL,
) -> list[Trajectory]:
    """Play one conversation on each sample (B of them), all of them together, turn by turn.

    Returns B trajectories. The rollout of one that an environment or a tool broke off says so in its `error`.
    """
    games: list[Game | AgentGame] = []
    with closing(SideBySide(limits.concurrency)) as side, Games(task, renderer, max_turns, limits) as opened:
        try:
            for sample in samples:
                games.append(opened.begin(sample))
            _work(side, games)
            for turn in count():
                asking = [game for game in games if game.waits]
                if not asking:
                    break
                replies = generate([game.asks for game in asking], turn)
                for game, reply in zip(asking, replies, strict=True):
                    game.take(reply)
                _work(side, asking)
        finally:
            give_up(side, games)
    return [game.trajectory() for game in games]


def _work(side: SideBySide, games: Sequence[Game | AgentGame]) -> None:
    """Run the work of these games until each of them waits for a reply or is over."""
    while busy := [game for game in games if game.work]:
        ended = iter(side.run([call for game in busy for call in game.work]))
        for game in busy:
            game.settle(list(islice(ended, len(game.work))))


def give_up(side: SideBySide, games: Iterable[Game | AgentGame]) -> None:
    """Close what the games that are not over have open."""
    side.drop()
    if calls := [call for game in games if not game.over for call in game.give_up()]:
        side.run(calls)
