"""Limits of what runs beside generation: the configuration's `rollouts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenyson.config.schema import Config


@dataclass(frozen=True)
class Limits:
    """How many calls into a task's code run at once, for how long, and how often a broken rollout is tried again."""

    concurrency: int = 64
    """Most calls at once."""
    step_seconds: float | None = None
    """Of one call; None for no limit."""
    context: int | None = None
    """Tokens that the model can read at once; None where nobody knows. A rollout that would need more ends."""
    reward_seconds: float | None = None
    """Of one call of a reward; None for no limit."""
    rollout_seconds: float | None = None
    """Of a whole rollout, the model's replies included; None for no limit."""
    retries: int = 2
    """How often a call of a reward that failed is made again, and a rollout that its environment or a tool broke played again."""

    @classmethod
    def from_config(cls, config: Config) -> Limits:
        """What the configuration's `rollouts` says."""
        rollouts = config.rollouts
        return cls(
            rollouts.concurrency,
            rollouts.step_seconds,
            reward_seconds=rollouts.reward_seconds,
            rollout_seconds=rollouts.rollout_seconds,
            retries=rollouts.retries,
        )


USUAL = Limits()
"""What holds where nothing is configured."""
