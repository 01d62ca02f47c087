"""A board: the turns of a game as JSON-safe data, in samples and in the info of rollouts, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenyson.tasks import Rollout
from tenyson_wordle.game.rules import SOLVED, TURNS, Game, Turn
from tenyson_wordle.rollouts.prompt import Style


def to_data(turns: Iterable[Turn]) -> list[dict[str, str | None]]:
    """One dict a turn."""
    return [{"guess": t.guess, "marks": t.marks, "illegal": t.illegal} for t in turns]


def from_data(data: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """What `to_data` made."""
    return [Turn(item["guess"], item["marks"], item["illegal"]) for item in data]


@dataclass(frozen=True)
class Board:
    """How a rollout went."""

    secret: str
    given: Sequence[Turn]
    """Turns that the prompt already held; not the model's."""
    played: Sequence[Turn]
    """The model's turns."""

    @property
    def turns(self) -> list[Turn]:
        """All turns."""
        return [*self.given, *self.played]

    @property
    def won(self) -> bool:
        """Whether the model found the secret."""
        return bool(self.played) and self.played[-1].marks == SOLVED

    @property
    def guesses(self) -> int:
        """Turns until the win; a loss counts one more than a game has."""
        return len(self.turns) if self.won else TURNS + 1


def board_of(rollout: Rollout, style: Style, game: Game) -> Board:
    """The board of a finished rollout.

    A multi-turn environment has written it into `info`. A single-turn rollout has no environment: its one reply
    is played here on `game`, which stands where the prompt stopped.
    """
    given = from_data(rollout.sample.data.get("given", ()))
    if "turns" in rollout.info:
        return Board(rollout.sample.data["secret"], given, from_data(rollout.info["turns"]))
    if not rollout.replies:
        return Board(game.secret, given, [])
    return Board(game.secret, given, [take(game, style, rollout.text)])


def take(game: Game, style: Style, reply: str) -> Turn:
    """Play a reply."""
    parsed = style.parse(reply)
    if parsed.guess is None:
        return game.forfeit(parsed.illegal or "format", parsed.detail)
    return game.play(parsed.guess)
