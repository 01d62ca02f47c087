"""Solvers: the baselines, and the source of SFT data."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenyson.errors import TaskError
from tenyson_wordle.game.knowledge import Knowledge, knowledge_of
from tenyson_wordle.game.rules import TURNS, feedback
from tenyson_wordle.game.solver import EntropySolver, ExactSolver, RandomConsistentSolver, RandomSolver, play
from tenyson_wordle.game.words import Lexicon, load

FEW = ("bound", "found", "hound", "mound", "pound", "round", "sound", "wound")

CROWDED = tuple(sorted("".join(letters) for letters in itertools.product("abc", repeat=5)))


def games(solver):
    return [play(solver, secret, random.Random(0)) for secret in solver.lexicon.answers]


def test_the_entropy_solver_on_the_tiny_list():
    """Its exact figures: every game won, in 193 guesses in all, as few as can be."""
    counts = [len(game.turns) for game in games(EntropySolver(load("tiny")))]
    assert [counts.count(n) for n in range(1, 7)] == [1, 45, 34, 0, 0, 0]
    assert all(game.won for game in games(EntropySolver(load("tiny"))))


def test_the_exact_solver_needs_no_more_guesses_than_any_other():
    """And its promise is what its games take."""
    solver = ExactSolver(load("tiny"))
    promised, _ = solver.solve(solver.knowledge.everything, TURNS)
    assert promised == sum(len(game.turns) for game in games(solver)) == 193


def test_the_exact_solver_against_all_strategies_on_few_words():
    """A trap of eight words that tell little of each other, searched through without any bound."""
    lexicon = Lexicon("few", FEW, frozenset(FEW))
    solver = ExactSolver(lexicon)

    def least(left: frozenset[str], turns: int) -> int:
        if len(left) == 1:
            return 1
        if turns == 1:
            return 2 * len(left) - 1
        best = 99
        for guess in left:
            parts: dict[str, set[str]] = {}
            for word in left:
                parts.setdefault(feedback(guess, word), set()).add(word)
            parts.pop("GGGGG")
            best = min(best, len(left) + sum(least(frozenset(part), turns - 1) for part in parts.values()))
        return best

    for size in (2, 3, 5, 8):
        some = frozenset(FEW[:size])
        mask = sum(1 << FEW.index(word) for word in some)
        assert solver.solve(mask, TURNS)[0] == least(some, TURNS)


def test_the_exact_solver_refuses_a_long_list():
    """It would take for ever."""
    with pytest.raises(TaskError, match="Take the entropy solver"):
        ExactSolver(load("scowl"))


@pytest.mark.slow
def test_baselines_stand_in_order():
    """Random play hardly ever wins; consistent play mostly does; random play may repeat itself."""
    lexicon = load("scowl")
    secrets = lexicon.secrets("all")[:300]
    won = {
        kind.name: sum(play(kind(lexicon), secret, random.Random(n)).won for n, secret in enumerate(secrets))
        for kind in (RandomSolver, RandomConsistentSolver)
    }
    assert won["random"] <= 5
    assert won["random_consistent"] >= 285


def test_consistent_play_never_contradicts_the_board():
    """Each guess would have got all the earlier marks, were it the secret."""
    for game in games(RandomConsistentSolver(load("tiny"))):
        for earlier, later in itertools.combinations(game.turns, 2):
            assert feedback(earlier.guess, later.guess) == earlier.marks


@given(st.text("abc", min_size=5, max_size=5) | st.sampled_from(load("scowl").guesses))
def test_a_guess_divides_the_answers_by_their_feedback(guess):
    """Each answer stands in the part of its own feedback, and in no other."""
    for answers in (CROWDED, load("tiny").answers):
        knowledge = knowledge_of(answers)
        expected: dict[str, list[str]] = {}
        for answer in answers:
            expected.setdefault(feedback(guess, answer), []).append(answer)
        assert {marks: knowledge.words(part) for marks, part in knowledge.division(guess).items()} == expected


def test_entropy_is_the_expected_information_in_bits():
    """Eight equally likely marks are three bits; a guess that tells nothing is none."""
    knowledge = Knowledge(["aaaaa", "bbbbb"])
    assert knowledge.entropy("aaaaa", knowledge.everything) == pytest.approx(1.0)
    assert knowledge.entropy("zzzzz", knowledge.everything) == 0.0
    assert knowledge.words(knowledge.after(knowledge.everything, "aaaaa", ".....")) == ["bbbbb"]
