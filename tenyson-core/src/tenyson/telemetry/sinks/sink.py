"""The protocol of a sink: what a plugin implements to record events in a place of its own."""

from __future__ import annotations

from typing import Protocol

from tenyson.telemetry.events import Event


class Sink(Protocol):
    """Where events go. A class registered by `tenyson_sinks` is built as `Sink(config, run_dir)`.

    A sink that shows its record somewhere has an attribute `url`. By default a sink gets its events from a thread of
    its own, on the main process only. Class attributes change that: `inline = True` for one that never waits for anything,
    `every_rank = True` for one that records on all processes of a job.
    """

    name: str
    """What users write in `telemetry.sinks`."""

    def write(self, event: Event) -> None:
        """Take one event. May raise: the sink is then muted, and the job continues."""

    def close(self) -> None:
        """Write what is left and let go of files and connections."""
