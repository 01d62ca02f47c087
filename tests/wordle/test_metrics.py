"""Metrics: each with its count and its 95% interval."""

from __future__ import annotations

import dataclasses
import math

import pytest

from tenyson_wordle.metrics import pass_at

from .conftest import play


def test_a_loss_counts_seven_guesses(chat):
    """So that the mean does not flatter a model that only wins easy games."""
    rollouts = [
        play(chat, "crane", ["<guess>crane</guess>"]),
        play(chat, "slate", ["<guess>ghoul</guess>"] * 6),
    ]
    found = chat.metrics(rollouts)
    assert found["guesses"].value == 4.0
    assert found["win_rate"].value == 0.5


def test_the_win_rate_has_wilsons_interval(compact):
    """At 0 of 80 it still reaches up to 4.6%."""
    rollouts = [play(compact, secret, ["zzzzz"] * 6) for secret in compact.lexicon.answers]
    found = compact.metrics(rollouts)["win_rate"]
    assert (found.value, found.n) == (0.0, 80)
    assert found.low == pytest.approx(0.0)
    assert found.high == pytest.approx(0.0458, abs=1e-4)


def test_legality_and_form_are_counted_over_turns(chat):
    """A non-word is well-formed; a missing tag is not."""
    found = chat.metrics(
        [play(chat, "crane", ["<guess>zzzzz</guess>", "?", "<guess>slate</guess>", "<guess>crane</guess>"])]
    )
    assert (found["format_legal"].value, found["format_legal"].n) == (0.75, 4)
    assert found["legal_guesses"].value == 0.5


def test_constraint_satisfaction_counts_guesses_that_agree_with_the_board(chat):
    """The first legal guess has nothing to agree with; repeating one does not agree."""
    found = chat.metrics([play(chat, "crane", [f"<guess>{w}</guess>" for w in ("slate", "slate", "crane")])])
    assert (found["constraint_satisfaction"].value, found["constraint_satisfaction"].n) == (0.5, 2)


def test_bits_are_at_most_the_solvers(chat):
    """A poor opener tells less than the best one."""
    found = chat.metrics([play(chat, "crane", ["<guess>fuzzy</guess>", "<guess>slate</guess>"])])
    assert 0 < found["bits_per_guess"].value < found["best_bits_per_guess"].value
    assert found["best_bits_per_guess"].n == 2


def test_win_rates_by_slice(compact):
    """Train and held-out secrets part the games; an empty slice is left out."""
    rollouts = [play(compact, secret, [secret]) for secret in compact.lexicon.answers]
    found = compact.metrics(rollouts)
    assert found["win_rate/train_secrets"].n + found["win_rate/held_out_secrets"].n == 80
    assert found["win_rate/duplicate_letters"].n == sum(len(set(w)) < 5 for w in compact.lexicon.answers)
    assert "win_rate/traps" not in found


def test_pass_at_k_is_without_bias(chat):
    """Of four games one won: two drawn at random hold it half the time."""
    won, lost = (play(chat, "crane", [f"<guess>{word}</guess>"]) for word in ("crane", "ghoul"))
    found = chat.metrics([won, lost, lost, lost])
    assert found["pass@2"].value == pytest.approx(0.5)
    assert found["pass@4"].value == 1.0
    assert "pass@8" not in found
    assert pass_at([]) == {}


def test_one_game_a_secret_has_no_pass_at_k(chat):
    """There is nothing to draw from."""
    assert not any(name.startswith("pass@") for name in chat.metrics([play(chat, "crane", ["?"])]))


def test_no_rollouts_give_no_numbers(chat):
    """An evaluation that was stopped at once has counts of 0 and no value."""
    found = chat.metrics([])
    assert math.isnan(found["win_rate"].value)
    assert found["win_rate"].n == 0


def test_metrics_have_the_same_names_however_badly_a_model_plays(compact):
    """An untrained model has no legal guess to measure information on; a report still lines the stages up."""
    good = compact.metrics([play(compact, secret, [secret]) for secret in compact.lexicon.answers])
    poor = compact.metrics([play(compact, secret, ["?"] * 6) for secret in compact.lexicon.answers])
    assert list(good) == list(poor)
    assert math.isnan(poor["bits_per_guess"].value)


def test_a_truncated_rollout_is_a_loss(chat):
    """Whatever stood on the board when the tokens ran out."""
    rollout = play(chat, "crane", ["<guess>slate</guess>"], finish_reason="length")
    assert chat.metrics([dataclasses.replace(rollout)])["win_rate"].value == 0.0
