"""Progress: what the journal says of one pipeline's steps, as the controller that holds its lease knows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tenyson.pipeline.definition import Finished
from tenyson.pipeline.records import IN_FLIGHT, OVER, AttemptRecord, StepRecord

if TYPE_CHECKING:
    from tenyson.pipeline.entry import Entry
    from tenyson.pipeline.journal import Journal
    from tenyson.pipeline.lease import Lease


class Progress:
    """The steps and the latest attempt of each. It changes by entries in the journal alone."""

    steps: dict[str, StepRecord]
    attempts: dict[str, AttemptRecord]

    def __init__(self, journal: Journal, lease: Lease) -> None:
        self._journal = journal
        self._lease = lease
        self._id = lease.pipeline_id
        self.read()

    def read(self) -> None:
        """Learn everything anew. Raises: JournalAwayError."""
        self.steps = {step.label: step for step in self._journal.steps(self._id)}
        self.attempts = {one.label: one for one in self._journal.attempts(self._id)}

    @contextmanager
    def entry(self, label: str | None = None) -> Iterator[Entry]:
        """One transaction; afterwards the step is known as the journal has it. Raises: LeaseLostError, JournalAwayError."""
        self._lease.check()
        with self._journal.entry(self._id, self._lease.fence) as entry:
            yield entry
        if label is not None:
            step = self.steps[label] = self._journal.step(self._id, label)
            self.attempts[label] = self._journal.attempt(self._id, label, step.attempt)

    def in_flight(self) -> list[str]:
        """Steps whose latest attempt was intended, launched, or runs."""
        return [label for label, step in self.steps.items() if step.state in IN_FLIGHT]

    def finished(self) -> dict[str, Finished]:
        """Configuration and result of every step that is over and has one: what others may refer to."""
        return {
            label: Finished(self.attempts[label].spec.config, result)
            for label, step in self.steps.items()
            if step.state in OVER
            and label in self.attempts
            and (result := self.attempts[label].result) is not None
        }
