"""Telemetry: hands each event to the sinks. A sink that fails is muted; it never harms the job."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from tenyson.telemetry.events import Event


class Sink(Protocol):
    """Where events go. A class registered by `tenyson_sinks` is built as `Sink(config, run_dir)`."""

    name: str

    def write(self, event: Event) -> None:
        """Take one event. May raise: the sink is then muted, and the job goes on."""

    def close(self) -> None:
        """Write what is left and let go of files and connections."""


class Telemetry:
    """The one place that jobs send events to."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._sinks = list(sinks)
        self.muted: dict[str, str] = {}
        """Why a sink was muted, by name."""

    def emit(self, event: Event) -> None:
        """Send an event to every sink. Never raises."""
        for sink in list(self._sinks):
            try:
                sink.write(event)
            except Exception as error:  # noqa: BLE001  an observer must not kill the host
                self._mute(sink, error)

    def url(self, name: str) -> str | None:
        """Where a person can look at what the sink `name` recorded; None where it has no such place."""
        return next((getattr(sink, "url", None) for sink in self._sinks if sink.name == name), None)

    def close(self) -> None:
        """Close every sink. Never raises."""
        for sink in list(self._sinks):
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001
                self._mute(sink, error)
        self._sinks.clear()

    def _mute(self, sink: Sink, error: Exception) -> None:
        self._sinks.remove(sink)
        self.muted[sink.name] = f"{type(error).__name__}: {error}"
        print(f"warning: telemetry sink {sink.name} is off from here on: {self.muted[sink.name]}", file=sys.stderr)  # noqa: T201
