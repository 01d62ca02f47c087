"""FailurePolicy: what happens by itself when a step fails, and when a person is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tenyson.cloud.backend import Reason
from tenyson.errors import ConfigError, Problem

OnFailure = Literal["wait", "abort", "continue", "retry"]

PREEMPTIONS: frozenset[Reason] = frozenset({"preempted", "lost", "capacity"})
"""Failures that are the machine's end, not the job's."""
IN_VAIN: frozenset[Reason] = frozenset({"user_error", "auth"})
"""Failures that come again, however often one tries."""


@dataclass(frozen=True)
class FailurePolicy:
    """What is done about a failed step.

    `wait` asks a person; `abort` ends the pipeline; `continue` accepts what there is; `retry` tries again by itself
    within the two budgets, from the latest checkpoint where there is one, and asks a person once they are spent.

    Raises:
        ConfigError: there is no such policy, or a budget is negative.
    """

    on_failure: OnFailure = "wait"
    retries: int = 2
    """Further attempts of a step after failures of its own."""
    preemptions: int = 20
    """Further attempts of a step after its machine was preempted or lost."""
    pause_seconds: float = 30.0
    """Before the first retry of a failure; doubled each time, at most an hour. A preempted step starts again at once."""
    rented: bool = False
    """Whether machines are rented: then `wait`, too, replaces a preempted or lost one, within `preemptions`."""

    def __post_init__(self) -> None:
        known = get_args(OnFailure)
        problems = []
        if self.on_failure not in known:
            cause = f"there is no {self.on_failure!r}"
            problems.append(Problem(cause, key="on_failure", suggestion=f"one of {', '.join(known)}"))
        for key in ("retries", "preemptions", "pause_seconds"):
            if getattr(self, key) < 0:
                problems.append(Problem("must not be negative", key=key))
        if problems:
            raise ConfigError(problems)

    @property
    def attempts(self) -> int:
        """How often a step is launched at most, as long as nobody decides."""
        own = self.retries if self.on_failure == "retry" else 0
        return 1 + own + (self.preemptions if self._replaces_machines else 0)

    @property
    def _replaces_machines(self) -> bool:
        return self.on_failure == "retry" or (self.rented and self.on_failure == "wait")

    def retry_after(self, reason: Reason | None, *, failures: int, preemptions: int) -> float | None:
        """Seconds until the next attempt; None where there is to be none. The counts are of retries so far."""
        if reason in PREEMPTIONS and self._replaces_machines:
            if preemptions >= self.preemptions:
                return None
            # No machine to be had now is none to be had a moment later.
            return self._pause(preemptions) if reason == "capacity" else 0.0
        if self.on_failure != "retry" or reason in IN_VAIN:
            return None
        return self._pause(failures) if failures < self.retries else None

    def _pause(self, retries: int) -> float:
        return min(self.pause_seconds * 2.0 ** min(retries, 20), 3600.0)
