"""The single-turn variant: one board, one guess."""

from __future__ import annotations

import pytest

from tenyson.errors import TaskError
from tenyson.tasks import Rollout
from tenyson_wordle.task import WordleTask


@pytest.fixture
def task():
    return WordleTask(variant="constraint")


def reward_of(task, sample, reply):
    rollout = Rollout(sample, [{"role": "assistant", "content": reply}])
    return next(reward for reward in task.rewards() if reward.name == "constraint")(rollout)


def test_it_has_no_environment_and_shows_a_board_that_hides_the_secret(task):
    """One prompt that ends with a user message."""
    for sample in list(task.eval_samples("held_out", 0)):
        assert task.environment(sample) is None
        assert sample.prompt[-1]["role"] == "user"
        assert sample.data["given"]
        assert sample.data["secret"] not in sample.prompt[-1]["content"].replace(" ", "")


@pytest.mark.slow
def test_a_guess_that_agrees_with_all_marks_earns_one(task):
    """The secret always does; an earlier guess never does; neither does a non-word."""
    for sample in list(task.rl_samples("train", 0))[:100]:
        secret, earlier = sample.data["secret"], sample.data["given"][-1]["guess"]
        assert reward_of(task, sample, f"<guess>{secret}</guess>") == 1.0
        assert reward_of(task, sample, f"<guess>{earlier}</guess>") == 0.0
        assert reward_of(task, sample, "<guess>zzzzz</guess>") == 0.0
        assert reward_of(task, sample, secret) == 0.0


def test_its_metrics_are_shares_of_single_guesses(task):
    """Constraint satisfaction among them."""
    samples = list(task.eval_samples("held_out", 0))[:20]
    replies = [s.data["secret"] if n % 2 else s.data["given"][-1]["guess"] for n, s in enumerate(samples)]
    rollouts = [
        Rollout(s, [{"role": "assistant", "content": f"<guess>{r}</guess>"}])
        for s, r in zip(samples, replies, strict=True)
    ]
    found = task.metrics(rollouts)
    assert found["constraint_satisfaction"].value == 0.5
    assert found["legal_guesses"].value == 1.0
    assert found["constraint_satisfaction"].n == 20


def test_it_cannot_be_imitated(task):
    """SFT learns whole games."""
    with pytest.raises(TaskError, match="no samples for SFT"):
        task.sft_samples("train", 0)
