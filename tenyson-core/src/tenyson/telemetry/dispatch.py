"""Telemetry: hands each event to the sinks. A sink that fails is muted; it never harms the job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from tenyson.telemetry.events import Event


class Sink(Protocol):
    """Where events go. A class registered by `tenyson_sinks` is built as `Sink(config, run_dir)`.

    A sink that shows its record somewhere has an attribute `url`. `write` may be called from several threads.
    """

    name: str

    def write(self, event: Event) -> None:
        """Take one event. May raise: the sink is then muted, and the job goes on."""

    def close(self) -> None:
        """Write what is left and let go of files and connections."""


class Telemetry:
    """The one place that jobs send events to."""

    def __init__(self, sinks: Sequence[Sink] = (), *, redact: Callable[[Event], Event] | None = None) -> None:
        """`redact` strikes secrets from an event before any sink sees it."""
        self._sinks = list(sinks)
        self._built = {sink.name: sink for sink in sinks}
        self._redact = redact
        self.muted: dict[str, str] = {}
        """Why a sink was muted, by name."""

    def emit(self, event: Event) -> None:
        """Send an event to every sink. Never raises."""
        if self._redact is not None:
            try:
                event = self._redact(event)
            except Exception as error:
                self._warn("redaction", f"{type(error).__name__}: {error}", "an event was not recorded")
                return
        for sink in list(self._sinks):
            try:
                sink.write(event)
            except Exception as error:
                self._mute(sink, error)

    def url(self, sink: str) -> str | None:
        """Where a sink shows this run, such as W&B's page; None where it has no such place. Holds after `close`."""
        found = getattr(self._built.get(sink), "url", None)
        return found if isinstance(found, str) else None

    def close(self) -> None:
        """Close every sink. Never raises."""
        for sink in list(self._sinks):
            try:
                sink.close()
            except Exception as error:
                self._mute(sink, error)
        self._sinks.clear()

    def _mute(self, sink: Sink, error: Exception) -> None:
        if sink in self._sinks:  # two threads may see it fail at once
            self._sinks.remove(sink)
        self._warn(
            sink.name, f"{type(error).__name__}: {error}", f"telemetry sink {sink.name} is off from here on"
        )

    def _warn(self, name: str, reason: str, effect: str) -> None:
        if name not in self.muted:
            self.muted[name] = reason
            print(f"warning: {effect}: {reason}", file=sys.stderr)  # noqa: T201
