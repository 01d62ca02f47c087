"""Knowledge: which answers are still possible, kept as bits of one integer for each set.

Bit i of a set is the i-th answer; an intersection is `&` and a size is `bit_count`, so that an entropy
over thousands of words takes microseconds in plain Python.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from tenyson_wordle.game.rules import LENGTH, Turn


class Knowledge:
    """How each guess divides the answers. Divisions are made on first use and kept."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = tuple(answers)
        self.everything = (1 << len(self.answers)) - 1
        self._at: list[defaultdict[str, int]] = [defaultdict(int) for _ in range(LENGTH)]
        """For each place and letter, the answers with that letter there."""
        self._has: defaultdict[tuple[str, int], int] = defaultdict(int)
        """For each letter and number n, the answers that hold it at least n times."""
        for index, answer in enumerate(self.answers):
            for place, letter in enumerate(answer):
                self._at[place][letter] |= 1 << index
                self._has[letter, answer[: place + 1].count(letter)] |= 1 << index
        self._divisions: dict[str, dict[str, int]] = {}

    def division(self, guess: str) -> dict[str, int]:
        """For each possible feedback the set of answers that give it."""
        found = self._divisions.get(guess)
        if found is None:
            found = self._divisions[guess] = dict(self._divide(guess))
        return found

    def _divide(self, guess: str) -> list[tuple[str, int]]:
        # The two passes of feedback, each over all answers at once: first the places, then the letters left over.
        parts = [("", self.everything)]
        for place, letter in enumerate(guess):
            there = self._at[place][letter]
            parts = [
                (marks + mark, part)
                for marks, members in parts
                for mark, part in (("G", members & there), (".", members & ~there))
                if part
            ]
        for letter in dict.fromkeys(guess):
            parts = [
                part for marks, members in parts for part in self._yellows(guess, letter, marks, members)
            ]
        return parts

    def _yellows(self, guess: str, letter: str, marks: str, members: int) -> Iterator[tuple[str, int]]:
        places = [place for place in range(LENGTH) if guess[place] == letter]
        free = [place for place in places if marks[place] != "G"]
        green = len(places) - len(free)
        for yellow in range(len(free) + 1):
            part = members & self._has[letter, green + yellow] if green + yellow else members
            if yellow < len(free):
                part &= ~self._has[letter, green + yellow + 1]
            if part:
                marked = list(marks)
                for place in free[:yellow]:
                    marked[place] = "Y"
                yield "".join(marked), part

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
