"""Progress: what the journal says of one pipeline's steps, as the controller that holds its lease knows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.cloud.backend import Handle
from tenyson.pipeline.cache.identity import displaced, require_own
from tenyson.pipeline.graph.definition import Definition, Finished
from tenyson.pipeline.journal.records import IN_FLIGHT, OVER, AttemptRecord, StepRecord

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.lease import Lease
    from tenyson.pipeline.journal.transaction import Entry


class Progress:
    """The steps and the latest attempt of each. It changes by entries in the journal alone."""

    steps: dict[str, StepRecord]
    attempts: dict[str, AttemptRecord]

    def __init__(self, journal: Journal, lease: Lease) -> None:
        self._journal = journal
        self._lease = lease
        self._id = lease.pipeline_id
        record = journal.pipeline(self._id)
        self._root = Path() if record is None else record.origin.folder or Path()
        self.read()

    def read(self) -> None:
        """Read everything again. Raises: JournalAwayError."""
        self.steps = {step.label: step for step in self._journal.steps(self._id)}
        self.attempts = {one.label: self._located(one) for one in self._journal.attempts(self._id)}

    @contextmanager
    def entry(self, label: str | None = None) -> Iterator[Entry]:
        """One transaction; afterwards the step is known as the journal has it. Raises: LeaseLostError, JournalAwayError."""
        self._lease.check()
        with self._journal.entry(self._id, self._lease.fence) as entry:
            yield entry
        if label is not None:
            step = self.steps[label] = self._journal.step(self._id, label)
            self.attempts[label] = self._located(self._journal.attempt(self._id, label, step.attempt))

    def kept(self, handle: Handle) -> Handle:
        """As the journal keeps it: the job's folder is relative to the project, which may be moved."""
        folder = handle.data.get("folder")
        if folder is None or not Path(folder).is_relative_to(self._root.resolve()):
            return handle
        relative = str(Path(folder).relative_to(self._root.resolve()))
        return replace(handle, data={**handle.data, "folder": relative})

    def _located(self, attempt: AttemptRecord) -> AttemptRecord:
        handle = attempt.handle
        if handle is None or handle.data.get("folder") is None:
            return attempt
        folder = str(self._root.resolve() / handle.data["folder"])
        return replace(attempt, handle=replace(handle, data={**handle.data, "folder": folder}))

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

    def require_own(self, definition: Definition) -> None:
        """What a step starts from is what its sources, or its own last attempt, left there. Raises: ModelError."""
        for source in definition.sources({name: one.result for name, one in self.attempts.items()}):
            require_own(self.attempts[source])
        if self.steps[definition.label].resume and definition.label in self.attempts:
            require_own(self.attempts[definition.label])

    def left(self, label: str, attempt: int | None = None) -> str | None:
        """The folder with the checkpoints of the latest attempt, or of that before `attempt`: not one that another run took."""
        before = self.attempts.get(label)
        if attempt is not None:
            before = self._journal.attempt(self._id, label, attempt - 1) if attempt > 1 else None
        if before is None or before.result is None or before.result.local_output_dir is None:
            return None
        folder = before.result.local_output_dir
        return None if displaced(before, Path(folder)) else folder
