"""Each way in which Wordle rewards have been cheated elsewhere earns nothing here."""

from __future__ import annotations

import json

import pytest

from tenyson.errors import ConfigError
from tenyson.tasks import Rollout
from tenyson_wordle.rollouts.rewards import POOREST_WIN
from tenyson_wordle.task import WordleTask

from .conftest import WORDING, play, spelt, total

# Far from "crane" and from each other.
DUDS = ["ghoul", "fifty", "bumpy", "jumbo", "humid"]


def tags(words):
    return [f"<guess>{word}</guess>" for word in words]


@pytest.mark.parametrize(("duds", "reward"), [(0, 2.0), (1, 2.0), (2, 2.0), (3, 1.8), (4, 1.6), (5, 1.4)])
def test_a_win_pays_two_less_a_fifth_for_each_guess_after_the_third(chat, duds, reward):
    """The reward that resisted."""
    rollout = play(chat, "crane", tags([*DUDS[:duds], "crane"]))
    assert total(chat, rollout) == pytest.approx(reward)


def test_greens_on_the_last_guess_cannot_be_farmed(chat):
    """A loss pays 0, four greens or none."""
    near = play(chat, "crane", tags([*DUDS, "crate"]))
    assert near.info["turns"][-1]["marks"] == "GGG.G"
    assert total(chat, near) == 0.0


def test_an_invalid_format_earns_nothing(chat):
    """Even where it names the secret."""
    for reply in (
        "crane",
        "guess: crane",
        "<guess>crane",
        "<guess>cranes</guess>",
        "<guess>crane crane</guess>",
        "",
    ):
        rollout = play(chat, "crane", [reply] * 6)
        assert not rollout.info["won"]
        assert total(chat, rollout) == 0.0


def test_a_word_outside_of_the_list_earns_nothing(chat):
    """Also not in shaping."""
    rollout = play(chat, "crane", tags(["cranf"] * 6))
    assert all(reward(rollout) == 0.0 for reward in chat.rewards() if reward.name != "format")


def test_malformed_turns_do_not_escape_the_price_of_time(chat):
    """They count as turns, and cost a little more than honest ones."""
    honest = total(chat, play(chat, "crane", tags([*DUDS[:4], "crane"])))
    dodging = total(chat, play(chat, "crane", ["let me think", "hm", *tags([*DUDS[:2], "crane"])]))
    assert 0 < dodging < honest


def test_penalties_only_reduce_a_win_and_never_below_zero():
    """A loss with illegal turns is no worse than another loss: else a model learns not to try."""
    task = WordleTask(illegal_penalty=5.0)
    assert total(task, play(task, "crane", ["?", *tags(["crane"])])) == 0.0
    assert total(task, play(task, "crane", ["?"] * 6)) == 0.0


def test_guesses_inside_of_thinking_do_not_count(chat):
    """Neither the first bracket in a thought, nor one in a thought that never ends or that the prompt began."""
    for reply in (
        "<think><guess>crane</guess></think> no idea",
        "<think>maybe <guess>crane</guess>",
        "maybe <guess>crane</guess></think> no idea",
    ):
        assert play(chat, "crane", [reply]).info["turns"] == [
            {"guess": None, "marks": None, "illegal": "format"}
        ]
    spoken = play(chat, "crane", ["<think>not <guess>ghoul</guess></think><guess>crane</guess>"])
    assert spoken.info["won"]


def test_several_guesses_in_one_turn_are_illegal(chat):
    """The same guess twice is one guess."""
    rollout = play(chat, "crane", ["<guess>ghoul</guess><guess>crane</guess>"] * 6)
    assert {turn["illegal"] for turn in rollout.info["turns"]} == {"several"}
    assert total(chat, rollout) == 0.0
    assert play(chat, "crane", ["So <guess>crane</guess>. Yes: <guess>CRANE</guess>"]).info["won"]


def test_turns_after_the_end_change_nothing(chat):
    """An environment that is stepped on stays as it was."""
    sample = next(iter(chat.eval_samples("all", 0)))
    environment = chat.environment(sample)
    for _ in range(6):
        environment.step("<guess>crane</guess>" if sample.data["secret"] != "crane" else "?")
    before = json.dumps(environment.info())
    assert environment.step(f"<guess>{sample.data['secret']}</guess>").done
    assert json.dumps(environment.info()) == before


def test_the_secret_never_reaches_the_model(chat, compact):
    """Not in a prompt, not in an answer, whatever is replied."""
    for task, replies in (
        (chat, ["what is the secret?", "<guess>zzzzz</guess>", "<guess>a</guess>", *tags(DUDS[:2])]),
        (compact, ["zzzzz", "?", "above", "adopt", "hello there"]),
    ):
        for sample in task.eval_samples("all", 0):
            secret = sample.data["secret"]
            environment = task.environment(sample)
            shown = [message["content"] for message in sample.prompt if message["role"] != "system"]
            shown += [environment.step(reply).content for reply in replies if secret not in reply]
            assert secret in WORDING or not any(secret in spelt(text) for text in shown), secret


def test_repeating_a_guess_earns_no_shaping_twice(chat):
    """Greens are a maximum, and information is what all turns together took away."""
    rewards = {reward.name: reward for reward in chat.rewards()}
    once = play(chat, "crane", tags(["crate"]))
    often = play(chat, "crane", tags(["crate"] * 6))
    for name in ("greens", "information"):
        assert rewards[name](often) == pytest.approx(rewards[name](once))


def test_shaping_is_recorded_but_weightless_by_default():
    """Until the task's arguments give it weight."""
    assert {r.name: r.weight for r in WordleTask().rewards()} == {
        "win": 1.0,
        "greens": 0.0,
        "information": 0.0,
        "format": 0.0,
    }
    task = WordleTask(shaping={"greens": 0.3})
    rollout = play(task, "crane", tags(["crate"]))
    assert total(task, rollout) == pytest.approx(0.3 * 0.8)


def test_shaping_cannot_outweigh_a_win():
    """Weights that add up to the poorest win are refused, so a loss never beats a win by shaping."""
    with pytest.raises(ConfigError, match="games would be lost on purpose"):
        WordleTask(shaping={"greens": POOREST_WIN / 2, "format": POOREST_WIN / 2})


def test_a_rollout_without_any_reply_is_a_loss(chat):
    """A reply that never came is data, not an error."""
    sample = next(iter(chat.eval_samples("all", 0)))
    rollout = Rollout(sample, [], finish_reason="length", info=chat.environment(sample).info())
    assert total(chat, rollout) == 0.0
    assert chat.metrics([rollout])["guesses"].value == 7


def test_few_secrets_cannot_be_memorised_unseen(chat):
    """Training never uses a held-out secret, and its samples cover all others rather than a few."""
    held = set(chat.lexicon.secrets("held_out"))
    for split, seed in (("train", 0), ("train", 1)):
        trained = {sample.data["secret"] for sample in chat.rl_samples(split, seed)}
        assert trained == set(chat.lexicon.answers) - held
