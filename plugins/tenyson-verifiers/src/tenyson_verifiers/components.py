"""Components: the rewards and metrics of an environment of verifiers, as rewards of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tenyson.tasks import Reward, Rollout

OTHER = "other"
"""Rewards whose names are known only once an episode has ended, summed with their weights."""


def rewards(weights: Mapping[str, float], metrics: Sequence[str]) -> list[Reward]:
    """One component for each reward with its weight, one for the others, and one of weight 0 for each metric.

    A metric that has the name of a reward is called `NAME_metric`.
    """
    known = frozenset(weights)
    found = [Reward(name, _score(name), weight) for name, weight in weights.items()]
    found.append(Reward(OTHER if OTHER not in known else "other_rewards", _others(known)))
    taken = {one.name for one in found}
    for name in metrics:
        found.append(Reward(f"{name}_metric" if name in taken else name, _metric(name), 0.0))
    return found


def total(rollout: Rollout) -> float:
    """The reward as verifiers has it: the sum of scores times weights."""
    return sum(score * weight for score, weight in _scores(rollout).values())


def result(rollout: Rollout) -> Mapping[str, Any]:
    """What the agent returned; nothing where it did not come to its end."""
    found = rollout.info.get("result")
    return found if isinstance(found, Mapping) else {}


def _scores(rollout: Rollout) -> dict[str, tuple[float, float]]:
    found = result(rollout).get("rewards") or {}
    return {name: (score, weight) for name, (score, weight) in found.items() if None not in (score, weight)}


def _score(name: str) -> Any:
    return lambda rollout: _scores(rollout).get(name, (None, 0.0))[0]


def _others(known: frozenset[str]) -> Any:
    def summed(rollout: Rollout) -> float | None:
        found = [score * weight for name, (score, weight) in _scores(rollout).items() if name not in known]
        return sum(found) if found else None

    return summed


def _metric(name: str) -> Any:
    return lambda rollout: (result(rollout).get("metrics") or {}).get(name)
