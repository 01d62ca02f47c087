"""Feedback is exact, also on repeated letters."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenyson_wordle.game.rules import SOLVED, feedback
from tenyson_wordle.game.words import load

# Few letters make repeated ones the rule rather than the exception.
crowded = st.text("abc", min_size=5, max_size=5)
any_word = st.text("abcdefghijklmnopqrstuvwxyz", min_size=5, max_size=5)


def oracle(guess: str, secret: str) -> str:
    """By brute force over all ways of pairing letters: equal letters only, each used once; as many greens as can
    be, then as many yellows as can be, then the leftmost yellows."""
    best = ((-1, -1, ""), "")
    for pairing in itertools.permutations(range(5)):
        marks = "".join(
            "G" if guess[i] == secret[j] and i == j else "Y" if guess[i] == secret[j] else "."
            for i, j in enumerate(pairing)
        )
        leftmost = "".join("1" if mark == "Y" else "0" for mark in marks)
        best = max(best, ((marks.count("G"), marks.count("Y"), leftmost), marks))
    return best[1]


@given(crowded | any_word, crowded | any_word)
def test_feedback_is_what_the_best_pairing_of_letters_says(guess, secret):
    """Greens first, then yellows from the letters not yet used up, left to right."""
    assert feedback(guess, secret) == oracle(guess, secret)


@pytest.mark.parametrize(
    ("guess", "secret", "marks"),
    [
        ("speed", "abide", "..Y.Y"),
        ("speed", "erase", "Y.YY."),
        ("speed", "steal", "G.G.."),
        ("crepe", "speed", "..GYY"),
        ("allay", "llama", "YGYY."),
        ("eerie", "where", "Y.Y.G"),
        ("crane", "crane", "GGGGG"),
    ],
)
def test_feedback_on_repeated_letters(guess, secret, marks):
    """Worked by hand."""
    assert feedback(guess, secret) == marks


@given(any_word)
def test_only_the_secret_itself_is_all_green(word):
    """And it always is."""
    assert feedback(word, word) == SOLVED


@pytest.mark.slow
def test_agrees_with_an_independent_implementation():
    """textarena's Wordle gives the same marks on 60,000 pairs of words, half of them with repeated letters."""
    nltk = pytest.importorskip("nltk", reason="the independent implementation needs nltk")
    # textarena fetches corpora when it is imported; feedback needs none of them.
    fetch, nltk.download = nltk.download, lambda *_, **__: False
    try:
        wordle = pytest.importorskip(
            "textarena.envs.Wordle.env", reason="textarena is the independent implementation"
        )
    finally:
        nltk.download = fetch

    theirs = wordle.WordleEnv.__new__(wordle.WordleEnv)
    theirs.word_length, theirs.state = 5, SimpleNamespace(game_state={"word_length": 5})
    lexicon = load("scowl")
    repeated = [word for word in lexicon.guesses if len(set(word)) < 5]
    rng = random.Random(0)
    for number in range(60_000):
        secret = rng.choice(lexicon.answers)
        guess = rng.choice(repeated if number % 2 else lexicon.guesses)
        theirs.state.game_state["secret_word"] = secret
        assert feedback(guess, secret) == "".join(theirs._evaluate_guess(guess)).replace("X", "."), (
            guess,
            secret,
        )
