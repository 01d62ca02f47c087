"""History: what a pipeline's journal tells of one step, as a report sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class AttemptHistory:
    """One start of a step."""

    number: int
    """1 for the first."""
    state: str
    """INTENT, LAUNCHED, RUNNING, DONE, FAILED or STOPPED."""
    seconds: float
    """Wall time, from its launch to its end or until now."""
    per_hour: float | None
    """US dollars, where its machine costs something and that is known."""
    reason: str
    """Why it failed, in one line."""


@dataclass(frozen=True)
class DecisionHistory:
    """What a person decided."""

    answer: str
    """resume, restart, continue or abort."""
    by: str
    """Who decided, as far as that is known."""
    waited_seconds: float
    """How long the step waited for the answer."""


@dataclass(frozen=True)
class StepHistory:
    """One step of a pipeline."""

    label: str
    """The step's name in the pipeline."""
    job: str
    """The kind of job, by its name."""
    state: str
    """PENDING, INTENT, LAUNCHED, RUNNING, DONE, FAILED or WAITING_HUMAN."""
    run_id: str
    """The run of its latest attempt."""
    needs: Sequence[str] = ()
    """Labels of the steps that it follows."""
    attempts: Sequence[AttemptHistory] = ()
    """In order."""
    decisions: Sequence[DecisionHistory] = ()
    """In order."""
    reused_from: str | None = None
    """The run whose result this step reuses."""

    @property
    def words(self) -> str:
        """The state as a person says it."""
        if self.reused_from:
            return "reused"
        return {"PENDING": "to come", "INTENT": "starting", "LAUNCHED": "starting", "WAITING_HUMAN": "waits for a decision"}.get(
            self.state, self.state.lower()
        )  # fmt: skip
