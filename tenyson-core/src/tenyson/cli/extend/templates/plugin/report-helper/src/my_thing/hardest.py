"""Hardest: the samples of an evaluation on which nothing was rewarded."""

from collections.abc import Iterable, Mapping
from typing import Any


def never_rewarded(rollouts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Ids of samples whose best reward is not above 0. A rollout without a reward tells nothing."""
    best: dict[str, float] = {}
    for rollout in rollouts:
        if rollout["reward"] is not None:
            sample = rollout["sample_id"]
            best[sample] = max(rollout["reward"], best.get(sample, rollout["reward"]))
    return sorted(sample for sample, reward in best.items() if reward <= 0)
