"""The environment: one game against the model, turn by turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenyson.tasks import Environment, Observation
from tenyson_wordle.game.board import take, to_data
from tenyson_wordle.game.rules import TURNS, Game
from tenyson_wordle.rollouts.prompt import Style


class WordleEnvironment(Environment):
    """Plays on from where `game` stands. An illegal guess uses up its turn, and the model is told why."""

    def __init__(self, game: Game, style: Style) -> None:
        self._game = game
        self._style = style
        self._given = len(game.turns)

    def step(self, reply: str) -> Observation:
        """Take one reply. The secret is never in the answer."""
        if self._game.over:
            return Observation(done=True)
        turn = take(self._game, self._style, reply)
        if self._game.over:
            return Observation(done=True)
        return Observation(self._style.answer(turn, TURNS - len(self._game.turns)))

    def info(self) -> Mapping[str, Any]:
        """The board, for rewards, metrics and reports; `guesses` counts a game that is not won as seven."""
        return {
            "secret": self._game.secret,
            "won": self._game.won,
            "guesses": len(self._game.turns) if self._game.won else TURNS + 1,
            "turns": to_data(self._game.turns[self._given :]),
        }
