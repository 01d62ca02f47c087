"""The spool: an append-only file of events beside a job, written before any database hears of them.

One write call a batch, so that a kill loses nothing that the caller returned from. A spool belongs to one process: its
writer holds a lock on it for as long as it lives, which is how others know that it is dead. Layout of
`<run folder>/spool/<uid>-<segment>.spool`: the magic line, then records. A record is its length and CRC-32 (two
little-endian 32-bit numbers) and its payload: the first record of a segment is its header in JSON, every other one
holds the JSON lines of one batch.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenyson.core.run_folder import SPOOL

MAGIC = b"tenyson spool 1\n"

RECORD = struct.Struct("<II")
"""Length and CRC-32."""
MOST_RECORD_BYTES = 256 << 20
"""A writer's batch is far below: what says that it is longer is no record."""
MOST_NAME = 1000
MOST_NUMBER = 1 << 31
MOST_TIME = 1e11


@dataclass(frozen=True)
class Header:
    """Who wrote a spool."""

    uid: str
    run_id: str
    attempt_uid: str
    rank: int
    segment: int
    began: float
    """When its attempt's writer was opened; seconds since the epoch."""


@dataclass(frozen=True)
class Spool:
    """A spool on disk, as a reader sees it."""

    folder: Path
    header: Header
    segments: tuple[int, ...]
    """Those that are there, in order."""

    def path(self, segment: int) -> Path:
        """The file of a segment."""
        return segment_path(self.folder, self.header.uid, segment)

    def is_alive(self) -> bool:
        """Whether its writer still runs."""
        while (newest := self._newest()) is not None:
            try:
                file = os.open(newest, os.O_RDONLY)
                break
            except FileNotFoundError:
                continue  # stored and deleted just now; its writer may have begun another one
            except OSError:
                return False
        else:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(file)
        return False

    def is_gone(self) -> bool:
        """Whether somebody else, its writer or another recovery, has stored and deleted all of it."""
        return self._newest() is None

    def _newest(self) -> Path | None:
        """The last segment that is there now, which may be younger than those that were seen."""
        return max(self.folder.glob(f"{self.header.uid}-*.spool"), default=None)

    def delete(self) -> None:
        """Remove its files, and the folder where it was the last one."""
        for segment in self.segments:
            self.path(segment).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def find_spools(run_dir: Path) -> list[Spool]:
    """The spools of a run's folder, the oldest attempt first. What has no readable header, or is not ours to read, is left out.

    Those of attempts that were moved aside, to `earlier/N`, are among them.
    """
    segments: dict[tuple[Path, str], list[int]] = {}
    for folder in (run_dir / SPOOL, *run_dir.glob(f"earlier/*/{SPOOL}")):
        for path in folder.glob("*.spool"):
            uid, _, segment = path.stem.partition("-")
            if segment.isdecimal():
                segments.setdefault((folder, uid), []).append(int(segment))
    spools = []
    for (folder, uid), found in segments.items():
        found.sort()
        header = read_header(segment_path(folder, uid, found[0]))
        # By its uid its files are found: one that names others would have them read, and deleted.
        if header is not None and header.uid == uid:
            spools.append(Spool(folder, header, tuple(found)))
    return sorted(spools, key=lambda spool: (spool.header.began, spool.header.rank))


def read_header(path: Path) -> Header | None:
    """The header of a segment; None where it is torn, of another kind, or not to be read (or its writer deleted it just now)."""
    try:
        payload, _ = next(read_records(path, 0))
        header = Header(**json.loads(payload))
    except (OSError, StopIteration, ValueError, TypeError, RecursionError):
        return None
    return header if _is_sound(header) else None


def _is_sound(header: Header) -> bool:
    """Whether its fields are what they should be: a spool that was brought here may have been written by anybody."""
    texts = (header.uid, header.run_id, header.attempt_uid)
    numbers = (header.rank, header.segment)
    return (
        all(isinstance(text, str) and 0 < len(text) <= MOST_NAME for text in texts)
        and header.uid.isalnum()
        and all(type(number) is int and 0 <= number < MOST_NUMBER for number in numbers)
        and type(header.began) in (int, float)
        and 0 <= header.began < MOST_TIME
    )


def read_records(path: Path, position: int) -> Iterator[tuple[bytes, int]]:
    """Payloads from a byte on, each with the place behind it; ends at the end or at a record that is not whole.

    From 0 the first payload is the header.

    Raises: OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if position == 0:
            if file.read(len(MAGIC)) != MAGIC:
                return
            position = len(MAGIC)
        file.seek(position)
        while len(head := file.read(RECORD.size)) == RECORD.size:
            length, checksum = RECORD.unpack(head)
            if length > MOST_RECORD_BYTES:
                return
            payload = file.read(length)
            if len(payload) != length or zlib.crc32(payload) != checksum:
                return
            position += RECORD.size + length
            yield payload, position


def record(payload: bytes) -> bytes:
    """Length, CRC-32 and payload."""
    return RECORD.pack(len(payload), zlib.crc32(payload)) + payload


def segment_path(folder: Path, uid: str, segment: int) -> Path:
    """The file of one segment."""
    return folder / f"{uid}-{segment:05d}.spool"
