"""Rewards: plain functions of a finished rollout, tested without a model."""

from tenyson.tasks import Rollout


def is_right(rollout: Rollout) -> float:
    """1 for the whole answer, 0 for anything else."""
    return float(rollout.text == rollout.sample.data["answer"])


def letters_in_place(rollout: Rollout) -> float:
    """The share of letters in their place: a reward that also tells wrong answers apart."""
    answer: str = rollout.sample.data["answer"]
    return sum(a == b for a, b in zip(rollout.text, answer, strict=False)) / len(answer)
