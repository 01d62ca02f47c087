"""Batches: how many of a spool's events are stored in one transaction, and how many of those are written together.

`tenyson.telemetry.database.bulk` says how many rows go into one statement.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenyson.telemetry.spool.spool import read_records, segment_path

BATCH_EVENTS = 2048
"""Events of one transaction, about: a batch of the caller is never cut."""
BATCH_BYTES = 16 << 20
CHUNK_EVENTS = 512
"""Events that are written together."""
PATIENT_CHUNK_EVENTS = 64
"""The same beside a training thread, which may have to wait for the interpreter so long."""


@dataclass(frozen=True)
class Place:
    """How far a spool is stored: its segment, the byte in it, and the number of events before that."""

    segment: int
    position: int
    events: int


def chunks_of(folder: Path, uid: str, begin: Place, *, quick: bool) -> Iterator[tuple[list[bytes], Place]]:
    """Payloads of a spool from a place on, until a batch is full; each chunk with the place behind it.

    `quick`: in large chunks, for a process in which nobody else works.
    """
    chunk_events = CHUNK_EVENTS if quick else PATIENT_CHUNK_EVENTS
    payloads: list[bytes] = []
    read, before = 0, begin.events
    place = begin
    for payload, place in _records(folder, uid, begin):
        if payload:
            payloads.append(payload)
        read += len(payload)
        if place.events - before >= chunk_events:
            yield payloads, place
            payloads, before = [], place.events
        if place.events - begin.events >= BATCH_EVENTS or read >= BATCH_BYTES:
            break
    if payloads or place != begin:
        yield payloads, place


def _records(folder: Path, uid: str, place: Place) -> Iterator[tuple[bytes, Place]]:
    """Payloads from a place on, across segments, each with the place behind it; a header's is empty."""
    segment, position, events = place.segment, place.position, place.events
    while True:
        path = segment_path(folder, uid, segment)
        # One that is not there is stored: its writer or another recovery has deleted it.
        with contextlib.suppress(FileNotFoundError):
            for payload, behind in read_records(path, position):
                if position == 0:
                    payload = b""
                position = behind
                events += payload.count(b"\n") + 1 if payload else 0
                yield payload, Place(segment, position, events)
        # The writer begins a segment only once the one before is whole.
        if not segment_path(folder, uid, segment + 1).exists():
            return
        segment, position = segment + 1, 0
