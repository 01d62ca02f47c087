"""The reward of an environment that rewards each of its steps."""

from __future__ import annotations

from tenyson.tasks import Reward, Rollout


def environment(name: str = "environment", weight: float = 1.0) -> Reward:
    """The sum of what the environment gave for its steps (`Observation.reward`).

    It says nothing about a rollout for whose steps there were none.
    """
    return Reward(name, _sum, weight)


def _sum(rollout: Rollout) -> float | None:
    return sum(rollout.step_rewards) if rollout.step_rewards else None
