"""A batch: the events of one call, encoded once for all sinks that take JSON lines."""

from __future__ import annotations

from collections.abc import Sequence

from tenyson.telemetry.events import Event
from tenyson.telemetry.events.json_text import event_line

BUFFER_BYTES = 1 << 20
_NEWLINE = 10


class Encoder:
    """Encodes batches into one buffer, again and again: fresh memory for 128 rollouts would cost more than the encoding.

    Not for several threads at once.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)

    def encode(self, events: Sequence[Event]) -> bytes | memoryview:
        """JSON lines, one an event, without a newline at the end. A view holds until the next call."""
        if len(events) == 1:
            return event_line(events[0])
        view, end = self._view, 0
        for place, event in enumerate(events):
            line = event_line(event)
            start, end = end, end + len(line)
            if end >= BUFFER_BYTES:
                rest = [event_line(later) for later in events[place:]]
                return b"\n".join([bytes(view[: max(0, start - 1)]), *rest]) if start else b"\n".join(rest)
            view[start:end] = line
            self._buffer[end] = _NEWLINE
            end += 1
        return view[: end - 1]


def holds(lines: bytes | memoryview, text: bytes) -> bool:
    """Whether a text stands somewhere in the lines."""
    if isinstance(lines, bytes):
        return text in lines
    buffer = lines.obj
    assert isinstance(buffer, bytearray)
    return buffer.find(text, 0, len(lines)) >= 0
