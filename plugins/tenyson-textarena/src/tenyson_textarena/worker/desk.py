"""What the worker does for a request: name the games, deal one, take a reply, show a game of random moves."""

from __future__ import annotations

import random
from collections import OrderedDict
from importlib.metadata import version
from typing import Any

from textarena.envs.registration import ENV_REGISTRY

from tenyson.core.workers import time_limit
from tenyson_textarena.worker.match import MOVES, Match
from tenyson_textarena.worker.offline import NEEDS

KEPT = 4096
"""Games that are kept; one that was dropped is played again from its replies."""


class Desk:
    """The requests, one method each. `setup` has the fields of `tenyson_textarena.setup.Setup`."""

    def __init__(self) -> None:
        self._matches: OrderedDict[str, Match] = OrderedDict()

    def names(self) -> dict[str, Any]:
        """The version, and the games, each with why it cannot be played offline, None where it can."""
        games = {name: NEEDS.get(_package(spec)) for name, spec in sorted(ENV_REGISTRY.items())}
        return {"version": version("textarena"), "games": games}

    def begin(self, key: str, setup: dict[str, Any]) -> dict[str, Any]:
        """Deal a game and keep it as `key`. Raises: what the game raises."""
        with time_limit(setup["seconds"]):
            match = Match(setup)
        self._keep(key, match)
        return {
            "key": key,
            "players": match.players,
            "seat": match.seat,
            "opening": match.opening(),
            **_view(match),
        }

    def step(self, key: str, setup: dict[str, Any], replies: list[str]) -> dict[str, Any]:
        """Take the last of `replies`; a game that is not kept is dealt and played again. Raises: what the game raises."""
        with time_limit(setup["seconds"]):
            match = self._matches.pop(key, None)
            if match is None or match.taken != len(replies) - 1:
                match = Match(setup)
            for reply in replies[match.taken :]:
                match.take(reply)
        self._keep(key, match)
        return _view(match)

    def close(self, key: str) -> None:
        """Forget a game."""
        self._matches.pop(key, None)

    def demonstrate(self, setup: dict[str, Any]) -> dict[str, Any]:
        """A game of random legal moves as pairs of move and answer; none where the model's seat has not won it."""
        draw = random.Random(f"demonstration/{setup['seed']}")
        turns: list[tuple[str, str]] = []
        with time_limit(setup["seconds"]):
            match = Match(setup)
            while match.over is None and len(turns) < MOVES:
                move = match.random_move(draw)
                match.take(move)
                turns.append((move, match.text))
        over = match.over or {"reward": 0.0, "opponent_reward": None}
        other = over["opponent_reward"]
        won = over["reward"] >= 1 if other is None else over["reward"] > other
        return {"turns": turns if won else []}

    def _keep(self, key: str, match: Match) -> None:
        self._matches[key] = match
        if len(self._matches) > KEPT:
            self._matches.popitem(last=False)


def _view(match: Match) -> dict[str, Any]:
    return {"text": match.text, "over": match.over, "turn": match.turn}


def _package(spec: Any) -> str:
    """The folder of a game in textarena."""
    return str(spec.entry_point).removeprefix("textarena.envs.").split(".")[0]
