"""The protocol of a sink, and the base class that declares what else it may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tenyson.telemetry.events import Event


class Sink(Protocol):
    """Where events go. A class registered by `tenyson_sinks` is built as `Sink(config, run_dir)`.

    Derive from `BaseSink`, which declares what else a sink may have. A class that only has `name`, `write` and `close` works
    too. By default a sink gets its events from a thread of its own, on the main process only.
    """

    name: str
    """What users write in `telemetry.sinks`."""

    def write(self, event: Event) -> None:
        """Take one event. May raise: the sink is then muted, and the job continues."""

    def close(self) -> None:
        """Write what is left and let go of files and connections."""


class BaseSink(Sink):
    """The base of a sink: its optional attributes with their defaults. A class attribute or a property replaces one."""

    inline: bool = False
    """Whether the training thread itself calls `write`; only for a sink that never waits."""
    every_rank: bool = False
    """Whether the sink is opened on all processes of a job, not only on rank 0."""
    write_lines: Callable[[bytes | memoryview], None] | None = None
    """With `inline`: a method that takes a batch of JSON lines in place of `write`; a memoryview holds until it returns."""
    url: str | None = None
    """Where it shows the run."""
    lost: int = 0
    """How many events it has given up; shown with those of muted sinks."""
    trouble: str | None = None
    """Why it gave them up."""

    def joins(self, attempt_uid: str, rank: int) -> None:
        """Called once, before the first event: which attempt (32 hexadecimal digits), and which of its processes."""
