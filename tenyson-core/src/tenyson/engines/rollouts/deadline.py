"""The deadline of one rollout: `rollouts.rollout_seconds`, its retries and the model's replies included."""

from __future__ import annotations

import time

from tenyson.engines.rollouts.limits import Limits
from tenyson.errors import TaskError


class Deadline:
    """Begins with the rollout."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._began = time.monotonic()

    def left(self) -> float | None:
        """Seconds that are left for the whole rollout; None where it has no limit."""
        limit = self._limits.rollout_seconds
        return None if limit is None else max(0.0, self._began + limit - time.monotonic())

    def of_call(self) -> float | None:
        """Seconds that a call may take."""
        limits = [one for one in (self._limits.step_seconds, self.left()) if one is not None]
        return min(limits) if limits else None

    def require(self, sample: str, turn: int) -> None:
        """Raises: TaskError: it is reached."""
        if self.left() == 0:
            seconds = f"{self._limits.rollout_seconds:g} s"
            raise TaskError(
                f"the rollout on sample {sample} was not over after {seconds} (rollouts.rollout_seconds), turn {turn}"
            ) from TimeoutError(seconds)
