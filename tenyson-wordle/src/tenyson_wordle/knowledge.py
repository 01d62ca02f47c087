"""Knowledge: which answers are still possible, kept as bits of one integer for each set.

Bit i of a set stands for the i-th answer; an intersection is `&` and a size is `bit_count`, so that an entropy
over thousands of words takes microseconds in plain Python.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from tenyson_wordle.game import Turn, feedback


class Knowledge:
    """How each guess divides the answers. Divisions are made on first use and kept."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = tuple(answers)
        self.everything = (1 << len(self.answers)) - 1
        self._divisions: dict[str, dict[str, int]] = {}

    def division(self, guess: str) -> dict[str, int]:
        """For each possible feedback the set of answers that give it."""
        found = self._divisions.get(guess)
        if found is None:
            found = {}
            for place, answer in enumerate(self.answers):
                marks = feedback(guess, answer)
                found[marks] = found.get(marks, 0) | 1 << place
            self._divisions[guess] = found
        return found

    def after(self, candidates: int, guess: str, marks: str) -> int:
        """The candidates that are left after a guess."""
        return candidates & self.division(guess).get(marks, 0)

    def after_turns(self, turns: Iterable[Turn]) -> int:
        """The candidates that are left after the legal turns of a game."""
        candidates = self.everything
        for turn in turns:
            if turn.guess is not None and turn.marks is not None:
                candidates = self.after(candidates, turn.guess, turn.marks)
        return candidates

    def words(self, candidates: int) -> list[str]:
        """The words of a set, in the answers' order."""
        found = []
        while candidates:
            lowest = candidates & -candidates
            found.append(self.answers[lowest.bit_length() - 1])
            candidates ^= lowest
        return found

    def entropy(self, guess: str, candidates: int) -> float:
        """Expected information of a guess, in bits: the entropy of its feedback over equally likely candidates."""
        total = candidates.bit_count()
        bits = 0.0
        for members in self.division(guess).values():
            size = (members & candidates).bit_count()
            if size:
                bits -= size / total * math.log2(size / total)
        return bits


@lru_cache(maxsize=8)
def knowledge_of(answers: tuple[str, ...]) -> Knowledge:
    """The one Knowledge of a list of answers; its divisions are shared by everything in the process."""
    return Knowledge(answers)
