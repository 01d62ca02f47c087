"""The game: a secret of five letters, six turns, and exact feedback.

Feedback is a string with one mark for each letter: G (right place), Y (elsewhere in the secret), . (not, or no more).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

LENGTH = 5
"""Letters in a word."""
TURNS = 6
"""Guesses in a game."""
SOLVED = "G" * LENGTH

Illegal = Literal["format", "several", "unknown", "hard"]
"""Why a turn did not count: no five-letter guess; several different ones; not a word; hard mode's rule broken."""


def feedback(guess: str, secret: str) -> str:
    """The marks of `guess`: greens first, then yellows from the letters not yet used up, left to right."""
    marks = ["."] * len(guess)
    left = list(secret)
    for place, letter in enumerate(guess):
        if letter == secret[place]:
            marks[place] = "G"
            left[place] = ""
    for place, letter in enumerate(guess):
        if marks[place] == "." and letter in left:
            marks[place] = "Y"
            left[left.index(letter)] = ""
    return "".join(marks)


def hard_mode_violation(guess: str, earlier: str, marks: str) -> str | None:
    """What hard mode has against `guess` after `earlier` got `marks`: greens stay, revealed letters are used."""
    for place, (mark, letter) in enumerate(zip(marks, earlier, strict=True)):
        if mark == "G" and guess[place] != letter:
            return f"letter {place + 1} must be {letter}"
    revealed = Counter(letter for mark, letter in zip(marks, earlier, strict=True) if mark != ".")
    for letter, times in revealed.items():
        if guess.count(letter) < times:
            return f"it must contain {letter}" + (f" {times} times" if times > 1 else "")
    return None


@dataclass(frozen=True)
class Turn:
    """One turn of a game: a guess and its marks, or why there is none."""

    guess: str | None
    """Five letters, or None where there was no such guess."""
    marks: str | None
    """None for an illegal turn."""
    illegal: Illegal | None = None
    detail: str = ""
    """What to tell the player about an illegal turn."""


class Game:
    """A game in play. An illegal guess uses up its turn, or loses at once where `illegal_loses`."""

    def __init__(
        self, secret: str, allowed: Collection[str], *, hard: bool = False, illegal_loses: bool = False
    ) -> None:
        self.secret = secret
        self.allowed = allowed
        self.hard = hard
        self.illegal_loses = illegal_loses
        self.turns: list[Turn] = []

    @property
    def won(self) -> bool:
        """Whether the last guess was the secret."""
        return bool(self.turns) and self.turns[-1].marks == SOLVED

    @property
    def over(self) -> bool:
        """Whether no further turn is played."""
        lost_early = self.illegal_loses and any(turn.illegal for turn in self.turns)
        return self.won or lost_early or len(self.turns) >= TURNS

    def play(self, guess: str) -> Turn:
        """Take a five-letter guess in lower case."""
        if guess not in self.allowed:
            return self._add(Turn(guess, None, "unknown", "not in the word list"))
        if self.hard:
            for turn in self.turns:
                if turn.guess and turn.marks:
                    violation = hard_mode_violation(guess, turn.guess, turn.marks)
                    if violation:
                        return self._add(Turn(guess, None, "hard", f"hard mode: {violation}"))
        return self._add(Turn(guess, feedback(guess, self.secret)))

    def forfeit(self, illegal: Illegal, detail: str) -> Turn:
        """Take a turn without a usable guess."""
        return self._add(Turn(None, None, illegal, detail))

    def _add(self, turn: Turn) -> Turn:
        self.turns.append(turn)
        return turn
