"""The reporter: keeps a pipeline's report up to date while it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.core.stdio import say
from tenyson.errors import TenysonError

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal

REPORT_SECONDS = 20.0
"""At least so long between two reports of a pipeline that still runs."""


class Reporter:
    """Writes a pipeline's report now and then while it runs, and once more at its end."""

    def __init__(self, journal: Journal, pipeline_id: str) -> None:
        self._journal = journal
        self._pipeline = pipeline_id
        self._next = 0.0

    def update(self) -> None:
        """Write it, unless that was done a moment ago. What is missing while jobs run is no trouble."""
        begun = time.monotonic()
        if begun >= self._next:
            self.write(quiet=True)
            ended = time.monotonic()
            # Large records take long to read: the jobs are looked at in between.
            self._next = ended + max(REPORT_SECONDS, 20 * (ended - begun))

    def write(self, *, quiet: bool = False) -> Path | None:
        """One that cannot be written is a warning: the runs are what counts."""
        from tenyson.pipeline.report import write_pipeline_report

        try:
            return write_pipeline_report(self._journal, self._pipeline)
        except Exception as error:  # of whatever a job or somebody's code has left there
            if not quiet:
                kind = "" if isinstance(error, (TenysonError, OSError)) else f"{type(error).__name__}: "
                say(f"warning: the report could not be written: {kind}{error}")
            return None
