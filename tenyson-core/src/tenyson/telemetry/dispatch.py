"""Telemetry: hands each event to the sinks. A sink that fails is muted and counted; it never harms the job."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tenyson.core.stdio import say
from tenyson.telemetry.background import Background
from tenyson.telemetry.events import Event, EventsLost, MetricsLogged
from tenyson.telemetry.events.encoder import Encoder
from tenyson.telemetry.events.redact import Redactor
from tenyson.telemetry.sinks.adapted import adapted
from tenyson.telemetry.sinks.sink import BaseSink, Sink

UNRECORDED = "redaction"
"""Under this name events are counted that could not be made free of secrets, and so reached no sink."""


_open: weakref.WeakSet[Telemetry] = weakref.WeakSet()


def _after_fork() -> None:
    for telemetry in _open:
        telemetry.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class Telemetry:
    """The one place that jobs send events to."""

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        *,
        redact: Redactor | None = None,
        run_id: str = "",
        rank: int = 0,
    ) -> None:
        """`redact` strikes secrets from an event before any sink sees it."""
        self.muted: dict[str, str] = {}
        """Why a sink was muted, by name."""
        self._run_id = run_id
        self._rank = rank
        self._redact = redact
        self._encoder = Encoder()
        # A sink that fails is told to the others from within `emit`.
        self._lock = threading.RLock()
        built = [adapted(sink) for sink in sinks]
        self._built: dict[str, BaseSink] = {sink.name: sink for sink in built}
        self._lost: dict[str, int] = {}
        self._unrecorded = ""
        """Why events were not recorded that no sink has seen, of the first one."""
        # Sinks that take encoded lines share one encoding of each event.
        self._sinks: tuple[tuple[BaseSink, Callable[[bytes | memoryview], None] | None], ...] = tuple(
            (sink, sink.write_lines) if sink.inline else (Background(sink, partial(self._mute, sink)), None)
            for sink in built
        )
        _open.add(self)

    def after_fork(self) -> None:
        """In the child: a thread of the parent's, which is not here, may have held the lock."""
        self._lock = threading.RLock()

    @property
    def lost(self) -> dict[str, int]:
        """Events that a sink has not recorded, by name; without those that lost none."""
        found = dict(self._lost)
        for sink, _ in self._sinks:
            found[sink.name] = found.get(sink.name, 0) + _lost(sink)
        return {name: number for name, number in found.items() if number}

    def emit(self, *events: Event) -> None:
        """Send events to every sink; those of one call stay together. Never raises."""
        # One function, since a training thread waits here: after a pause of milliseconds, each further call is a cache miss.
        with self._lock:
            try:
                lines = self._encoder.encode(events)
                # Numbers alone hold no secret.
                if self._redact is not None and not (
                    len(events) == 1 and events[0].__class__ is MetricsLogged
                ):
                    kept = self._redact.batch(events, lines)
                    if kept is not events:
                        events, lines = tuple(kept), self._encoder.encode(kept)
            except Exception as error:
                self._leave_out(events, error)
                return
            if self.muted:
                for name in self.muted:
                    self._lost[name] = self._lost.get(name, 0) + len(events)
            for sink, write_lines in self._sinks:
                try:
                    if write_lines is not None:
                        write_lines(lines)
                    else:
                        for event in events:
                            sink.write(event)
                except (Exception, SystemExit) as error:
                    self._mute(sink, error, len(events))

    def clean(self, value: Any) -> Any:
        """What is written beside the events, without secrets."""
        return value if self._redact is None else self._redact.clean(value)

    def url(self, sink: str) -> str | None:
        """Where a sink shows this run, such as W&B's page; None where it has no such place. Holds after `close`."""
        built = self._built.get(sink)
        found = None if built is None else _safely(lambda: built.url)
        return found if isinstance(found, str) else None

    def close(self) -> None:
        """Close every sink, the last one registered first. Never raises."""
        self._tell_losses()
        for sink, _ in self._sinks:
            try:
                sink.close()
            except Exception as error:
                self._mute(sink, error, 0)
        self._sinks = ()

    def _leave_out(self, events: Sequence[Event], error: Exception) -> None:
        """Better no record than a leaked secret; but what else came in the same call is recorded."""
        if len(events) > 1:
            for event in events:
                self.emit(event)
            return
        self._lost[UNRECORDED] = self._lost.get(UNRECORDED, 0) + 1
        if not self._unrecorded:
            self._unrecorded = f"{type(error).__name__}: {error}"
            say(f"warning: an event was not recorded: {self._unrecorded}")

    def _tell_losses(self) -> None:
        troubles = {sink.name: _safely(lambda sink=sink: sink.trouble) for sink, _ in self._sinks}  # type: ignore[misc]
        troubles[UNRECORDED] = self._unrecorded
        for name, number in self.lost.items():
            reason = self.muted.get(name) or troubles.get(name) or "it was full"
            self.emit(
                EventsLost(run_id=self._run_id, sink=name, reason=reason, events=number, rank=self._rank)
            )

    def _mute(self, sink: BaseSink, error: BaseException, lost: int = 0) -> None:
        found = [pair for pair in self._sinks if pair[0].name == sink.name]
        self._sinks = tuple(pair for pair in self._sinks if pair not in found)
        lost += sum(_lost(muted) for muted, _ in found)
        reason = f"{type(error).__name__}: {error}"
        self._lost[sink.name] = self._lost.get(sink.name, 0) + lost
        self._warn(sink.name, reason, f"telemetry sink {sink.name} is off from here on")
        if found and self._sinks:
            self.emit(
                EventsLost(
                    run_id=self._run_id,
                    sink=sink.name,
                    reason=reason,
                    events=self._lost[sink.name],
                    rank=self._rank,
                )
            )

    def _warn(self, name: str, reason: str, effect: str) -> None:
        if name not in self.muted:
            self.muted[name] = reason
            say(f"warning: {effect}: {reason}")


def _safely(read: Callable[[], Any]) -> Any:
    """What a plugin's property says; None where it raises."""
    try:
        return read()
    except Exception:
        return None


def _lost(sink: BaseSink) -> int:
    number = _safely(lambda: sink.lost)
    return number if isinstance(number, int) else 0
