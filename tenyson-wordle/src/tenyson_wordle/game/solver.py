"""Solvers: players that know the rules. They are the baselines, and they write the SFT data."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from tenyson.errors import TaskError
from tenyson_wordle.game.knowledge import Knowledge, knowledge_of
from tenyson_wordle.game.rules import SOLVED, TURNS, Game
from tenyson_wordle.game.words import Lexicon


class Solver(ABC):
    """Chooses guesses from the set of candidates that are left."""

    name: ClassVar[str]

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.knowledge: Knowledge = knowledge_of(lexicon.answers)

    @abstractmethod
    def guess(self, candidates: int, turns_left: int, rng: random.Random) -> str:
        """The next guess. `candidates`: a set of `Knowledge`; `turns_left` counts the turn at hand."""


class RandomSolver(Solver):
    """Any word that may be guessed: the floor."""

    name = "random"

    def guess(self, candidates: int, turns_left: int, rng: random.Random) -> str:  # noqa: ARG002
        """A uniform draw."""
        return rng.choice(self.lexicon.guesses)


class RandomConsistentSolver(Solver):
    """Any answer that agrees with all feedback so far."""

    name = "random_consistent"

    def guess(self, candidates: int, turns_left: int, rng: random.Random) -> str:  # noqa: ARG002
        """A uniform draw from the candidates."""
        return rng.choice(self.knowledge.words(candidates))


class EntropySolver(Solver):
    """The guess with the most expected information; a candidate before others, then the alphabet.

    `pool`: guesses to consider besides the candidates. Default: all that are allowed. Empty: consistent play.
    """

    name = "entropy"

    def __init__(self, lexicon: Lexicon, pool: Sequence[str] | None = None) -> None:
        super().__init__(lexicon)
        self._pool = lexicon.guesses if pool is None else tuple(pool)
        self._kept: dict[int, str] = {}

    def guess(self, candidates: int, turns_left: int, rng: random.Random) -> str:  # noqa: ARG002
        """Deterministic; each set of candidates is worked out once."""
        if candidates.bit_count() <= 2 or turns_left == 1:
            return self.knowledge.words(candidates)[0]
        if candidates not in self._kept:
            possible = self.knowledge.words(candidates)
            best, most = possible[0], -1.0
            # Candidates come first, so that at equal information one of them is taken: it may be the secret.
            for word in [*possible, *self._pool]:
                bits = self.knowledge.entropy(word, candidates)
                if bits > most + 1e-9:
                    best, most = word, bits
            self._kept[candidates] = best
        return self._kept[candidates]


class ExactSolver(Solver):
    """The fewest guesses in all over a small list, a lost game counted as seven; guesses are answers only.

    A depth-first search with memory over sets of candidates, bounded below by one guess for one candidate and
    two for each other one.
    """

    name = "exact"
    largest = 150

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__(lexicon)
        if len(lexicon.answers) > self.largest:
            raise TaskError(
                f"the exact solver takes at most {self.largest} answers, and {lexicon.name} has {len(lexicon.answers)}",
                next_step="Take the entropy solver.",
            )
        self._kept: dict[tuple[int, int], tuple[int, str]] = {}

    def guess(self, candidates: int, turns_left: int, rng: random.Random) -> str:  # noqa: ARG002
        """Deterministic."""
        return self.solve(candidates, turns_left)[1]

    def solve(self, candidates: int, turns_left: int) -> tuple[int, str]:
        """Guesses needed for all candidates together, and the guess that begins them."""
        size = candidates.bit_count()
        if size == 1 or turns_left == 1:
            # Of those that are left one is guessed now; each other one is lost, which costs one more than the last turn.
            return 2 * size - 1, self.knowledge.words(candidates)[0]
        key = (candidates, turns_left)
        if key not in self._kept:
            self._kept[key] = self._search(candidates, turns_left, size)
        return self._kept[key]

    def _search(self, candidates: int, turns_left: int, size: int) -> tuple[int, str]:
        divided = []
        for word in self.knowledge.answers:
            parts = [
                (marks, part)
                for marks, members in self.knowledge.division(word).items()
                if (part := members & candidates)
            ]
            solved = any(marks == SOLVED for marks, _ in parts)
            rest = [part for marks, part in parts if marks != SOLVED]
            bound = size + sum(2 * part.bit_count() - 1 for part in rest)
            if solved or len(rest) > 1:
                divided.append((bound, word, rest))
        best, choice = 10 * size, self.knowledge.words(candidates)[0]
        for bound, word, rest in sorted(divided, key=lambda option: option[:2]):
            if bound >= best:
                break
            cost = bound
            for part in sorted(rest, key=int.bit_count, reverse=True):
                cost += self.solve(part, turns_left - 1)[0] - (2 * part.bit_count() - 1)
                if cost >= best:
                    break
            if cost < best:
                best, choice = cost, word
        return best, choice


SOLVERS: dict[str, type[Solver]] = {
    solver.name: solver for solver in (RandomSolver, RandomConsistentSolver, EntropySolver, ExactSolver)
}


def play(solver: Solver, secret: str, rng: random.Random) -> Game:
    """One whole game by a solver."""
    game = Game(secret, solver.lexicon.allowed)
    candidates = solver.knowledge.everything
    while not game.over:
        turn = game.play(solver.guess(candidates, TURNS - len(game.turns), rng))
        if turn.guess and turn.marks:
            candidates = solver.knowledge.after(candidates, turn.guess, turn.marks)
    return game
