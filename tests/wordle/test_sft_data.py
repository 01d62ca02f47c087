"""SFT conversations are won, legal, and hide the secret until it is guessed."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from tenyson_wordle.game.board import from_data
from tenyson_wordle.rollouts.prompt import rationale
from tenyson_wordle.task import WordleTask

from .conftest import WORDING, spelt

TASKS = [
    {"words": "tiny", "style": "compact", "sft_games": 400},
    {"sft_games": 300},
    {"sft_games": 200, "noise": 1.0, "hard": True},
    {"sft_games": 60, "solver": "entropy", "words": "tiny"},
]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", TASKS)
def test_every_conversation_is_a_won_game_in_the_tasks_own_words(arguments):
    """Played again against a fresh environment, the replies bring exactly the answers of the conversation, no reply
    that is imitated is illegal, and the last one wins."""
    task = WordleTask(**arguments)
    samples = list(task.sft_samples("train", 0))
    assert len(samples) == arguments["sft_games"]
    for sample in samples:
        environment = task.environment(sample)
        *rest, last = sample.completion
        for reply, answer in (
            itertools.batched(rest, 2)
            if hasattr(itertools, "batched")
            else zip(rest[::2], rest[1::2], strict=True)
        ):
            assert environment.step(reply["content"]).content == answer["content"]
        assert environment.step(last["content"]).done
        info = environment.info()
        assert info["won"]
        assert not any(turn["illegal"] for turn in info["turns"])


@pytest.mark.parametrize("arguments", TASKS)
def test_nothing_the_model_reads_holds_the_secret(arguments):
    """Prompt and answers are free of it; so are all replies before the last."""
    for sample in WordleTask(**arguments).sft_samples("train", 0):
        secret = sample.data["secret"]
        read = [m["content"] for m in [*sample.prompt, *sample.completion[:-1]] if m["role"] != "system"]
        assert secret in WORDING or not any(secret in spelt(text) for text in read)


@pytest.mark.slow
def test_training_games_use_train_secrets_only():
    """And the eval split uses what `eval_secrets` says."""
    for choice in ("held_out", "train"):
        task = WordleTask(sft_games=500, eval_secrets=choice)
        held = set(task.lexicon.secrets("held_out"))
        assert not held & {sample.data["secret"] for sample in task.sft_samples("train", 3)}
        evaluated = {sample.data["secret"] for sample in task.sft_samples("eval", 3)}
        assert evaluated <= held if choice == "held_out" else not evaluated & held


def test_poor_turns_are_seen_but_not_taught():
    """They stand in the prompt; the completion begins after them."""
    samples = list(WordleTask(sft_games=300, noise=0.5).sft_samples("train", 0))
    given = [len(sample.data["given"]) for sample in samples]
    assert 100 < sum(bool(turns) for turns in given) < 200
    assert set(given) == {0, 1, 2, 3}
    for sample in samples:
        assert len(sample.prompt) == 2 + 2 * len(sample.data["given"])
        assert sample.completion[0]["role"] == "assistant"
    illegal = [turn["illegal"] for sample in samples for turn in sample.data["given"]]
    assert "unknown" in illegal, "recovering from a non-word is part of it"


@pytest.mark.slow
def test_openers_vary():
    """A model that always opens alike meets few states."""
    for arguments in ({"sft_games": 200, "noise": 0}, {"sft_games": 200, "noise": 0, "solver": "entropy"}):
        first = Counter(s.completion[0]["content"] for s in WordleTask(**arguments).sft_samples("train", 0))
        assert len(first) >= 15


def test_rationales_are_true():
    """Letters in place, elsewhere and absent agree with the secret, in every state of every game."""
    for sample in WordleTask(sft_games=200).sft_samples("train", 1):
        secret = sample.data["secret"]
        for message in sample.completion:
            if message["role"] != "assistant" or "In place:" not in message["content"]:
                continue
            facts = dict(
                part.split(": ") for part in message["content"].splitlines()[0].rstrip(".").split(". ")
            )
            assert all(letter in ("_", secret[i]) for i, letter in enumerate(facts["In place"].split()))
            assert all(letter in secret for letter in facts.get("Somewhere", "").split())
            assert not any(letter in secret for letter in facts.get("Not in it", "").split())
    assert rationale([]) == ""
    assert rationale(from_data([{"guess": "zzzzz", "marks": None, "illegal": "unknown"}])) == ""


@pytest.mark.slow
def test_the_same_seed_gives_the_same_games():
    """And another seed others."""
    task = WordleTask(sft_games=50)
    assert list(task.sft_samples("train", 0)) == list(task.sft_samples("train", 0))
    assert list(task.sft_samples("train", 0)) != list(task.sft_samples("train", 1))
