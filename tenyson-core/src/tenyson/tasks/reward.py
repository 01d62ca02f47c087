"""A reward: a named component of what GRPO maximises. Plain Python, sync or async."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenyson.errors import TaskError
from tenyson.tasks.rollout import Rollout


@dataclass(frozen=True)
class Reward:
    """A named component of the reward. The reward of a rollout is the weighted sum of its components."""

    name: str
    """Its own within the task; rollouts are recorded under it."""
    function: Callable[..., Any]
    """From a rollout to its value: a number, or None where the component says nothing about it. With `group` or `batch` from a list of
    rollouts to a list of their values, in order. It may be `async`: then rollouts are scored side by side."""
    weight: float = 1.0
    """0 means: recorded, but not trained on."""
    group: bool = False
    """Whether the function is asked once for all rollouts of one prompt, to compare them."""
    batch: bool = False
    """Whether it is asked once for all rollouts that are scored together: of an RL step on this process, of a batch of an evaluation."""
    seconds: float | None = None
    """Limit of one call; None for `rollouts.reward_seconds`."""
    check: Callable[[], Any] | None = None
    """What preflight calls in place of the function, where asking it costs money or changes something: it raises what is wrong.
    None: preflight asks the function about a made-up rollout."""

    @property
    def single(self) -> bool:
        """Whether the function takes one rollout at a time."""
        return not (self.group or self.batch)

    def __call__(self, rollout: Rollout) -> Any:
        """The unweighted value for one rollout: as it was recorded, where this reward has been asked before.

        Raises: TaskError: it has not been asked, and can be asked for several rollouts together only.
        """
        if self.name in rollout.rewards:
            return rollout.rewards[self.name]
        if not self.single:
            raise TaskError(
                f"the reward {self.name} compares rollouts, and has no value for one alone before they were scored",
                next_step="Read `rollout.rewards`, in which metrics find what was recorded.",
            )
        return self.function(rollout)
