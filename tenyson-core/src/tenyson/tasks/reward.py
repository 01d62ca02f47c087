"""A reward: a named component of what GRPO maximises. Plain Python, one rollout at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tenyson.tasks.rollout import Rollout


@dataclass(frozen=True)
class Reward:
    """A named component of the reward. The reward of a rollout is the weighted sum of its components."""

    name: str
    """Its own within the task; rollouts are recorded under it."""
    function: Callable[[Rollout], float | None]
    """None where the component says nothing about a rollout."""
    weight: float = 1.0
    """0 means: recorded, but not trained on."""

    def __call__(self, rollout: Rollout) -> float | None:
        """The unweighted value for one rollout: as it was recorded, where this reward has been asked before."""
        if self.name in rollout.rewards:
            return rollout.rewards[self.name]
        return self.function(rollout)
