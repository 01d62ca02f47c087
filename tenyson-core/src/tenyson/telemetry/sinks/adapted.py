"""Adapted: a sink whose class derives from nothing, with the defaults of BaseSink for what it lacks."""

from __future__ import annotations

from typing import Any

from tenyson.telemetry.events import Event
from tenyson.telemetry.sinks.sink import BaseSink, Sink


def adapted(sink: Sink) -> BaseSink:
    """The sink itself, where its class derives from BaseSink."""
    return sink if isinstance(sink, BaseSink) else AdaptedSink(sink)


def records_every_rank(sink_class: Any) -> bool:
    """Whether sinks of a class are opened on all processes of a job, before one is built."""
    return bool(getattr(sink_class, "every_rank", BaseSink.every_rank))


class AdaptedSink(BaseSink):
    """Passes everything on to `inner`."""

    def __init__(self, inner: Sink) -> None:
        self.inner = inner
        self.name = inner.name
        self.inline = bool(getattr(inner, "inline", BaseSink.inline))
        self.every_rank = records_every_rank(inner)
        self.write_lines = getattr(inner, "write_lines", None)

    def write(self, event: Event) -> None:
        """As `inner`."""
        self.inner.write(event)

    def close(self) -> None:
        """As `inner`."""
        self.inner.close()

    def joins(self, attempt_uid: str, rank: int) -> None:
        """Where it wants to know."""
        if joins := getattr(self.inner, "joins", None):
            joins(attempt_uid, rank)

    @property
    def url(self) -> str | None:  # type: ignore[override]
        """Read each time: it may not be known at the start."""
        return getattr(self.inner, "url", BaseSink.url)

    @property
    def lost(self) -> int:  # type: ignore[override]
        """See `url`."""
        return getattr(self.inner, "lost", BaseSink.lost)

    @property
    def trouble(self) -> str | None:  # type: ignore[override]
        """See `url`."""
        return getattr(self.inner, "trouble", BaseSink.trouble)
