"""ReportContext: what a report helper is given. A helper is a function of it that returns markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenyson.reporting.history import StepHistory
from tenyson.reporting.stage import Stage
from tenyson.tasks.plugin import TaskPlugin


@dataclass(frozen=True)
class ReportContext:
    """Everything a report is made of."""

    title: str
    """The title of the report."""
    stages: Sequence[Stage]
    """In the order in which they ran."""
    directory: Path
    """Where the report is written; a helper may write files here and refer to them by their bare names."""
    task: TaskPlugin | None = None
    """The task of the pipeline; None where its stages have no common one."""
    history: Sequence[StepHistory] = ()
    """Every step of the pipeline as its journal has it, those that never ran included."""

    @property
    def evaluations(self) -> list[Stage]:
        """The evaluation stages, in order."""
        return [stage for stage in self.stages if not stage.kind.trains]

    @property
    def trainings(self) -> list[Stage]:
        """The training stages, in order."""
        return [stage for stage in self.stages if stage.kind.trains]


ReportHelper = Callable[[ReportContext], str]
"""Returns markdown without a heading; "" where it has nothing to say. Raises ReportError for a missing number."""
