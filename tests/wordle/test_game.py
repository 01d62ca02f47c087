"""The game's rules: turns, illegal guesses, hard mode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenyson_wordle.game.rules import TURNS, Game, feedback, hard_mode_violation

WORDS = {"crane", "crate", "slate", "stale", "abide", "speed", "erase", "llama", "allay"}


def test_a_game_ends_with_the_secret():
    """The sixth turn is not needed."""
    game = Game("crane", WORDS)
    game.play("slate")
    assert not game.over
    game.play("crane")
    assert game.over
    assert game.won


def test_a_game_ends_after_six_turns_whatever_they_were():
    """Illegal ones included."""
    game = Game("crane", WORDS)
    for _ in range(TURNS):
        assert not game.over
        game.play("zzzzz")
    assert game.over
    assert not game.won


def test_a_word_outside_of_the_list_uses_up_its_turn_without_feedback():
    """It tells the player nothing but that it did not count."""
    game = Game("crane", WORDS)
    turn = game.play("crank")
    assert (turn.illegal, turn.marks) == ("unknown", None)
    assert len(game.turns) == 1


def test_an_illegal_turn_can_cost_the_game():
    """`illegal_loses` ends it at once."""
    game = Game("crane", WORDS, illegal_loses=True)
    game.play("crank")
    assert game.over
    assert not game.won


@pytest.mark.parametrize(
    ("earlier", "guess", "complaint"),
    [
        ("cloud", "slate", "letter 1 must be c"),
        ("cloud", "crate", None),
        ("panic", "crate", "it must contain n"),
        ("panic", "crane", None),
    ],
)
def test_hard_mode_holds_greens_in_place_and_uses_what_was_revealed(earlier, guess, complaint):
    """The secret is "crane": of "cloud" the c is green; of "panic" a, n and c are yellow."""
    assert hard_mode_violation(guess, earlier, feedback(earlier, "crane")) == complaint


def test_hard_mode_counts_repeated_letters():
    """Two revealed l's must both come again."""
    marks = feedback("llama", "allay")
    assert marks == "YGY.Y"
    assert hard_mode_violation("slate", "llama", marks) == "it must contain l 2 times"
    assert hard_mode_violation("allay", "llama", marks) is None


@given(st.sampled_from(sorted(WORDS)), st.sampled_from(sorted(WORDS)))
def test_the_secret_never_violates_hard_mode(guess, secret):
    """Else a game could not be won."""
    assert hard_mode_violation(secret, guess, feedback(guess, secret)) is None


def test_hard_mode_refuses_a_guess_that_drops_a_hint():
    """The turn is used up and says why."""
    game = Game("crane", WORDS, hard=True)
    game.play("crate")
    turn = game.play("speed")
    assert turn.illegal == "hard"
    assert "letter 1 must be c" in turn.detail
