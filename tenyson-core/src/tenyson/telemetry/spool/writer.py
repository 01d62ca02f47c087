"""The writer of a spool (`tenyson.telemetry.spool.spool`): what a job calls. It waits for nothing but the disk's cache."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn
from zlib import crc32

from tenyson.core.run_folder import SPOOL
from tenyson.core.stdio import say
from tenyson.telemetry.spool.spool import MAGIC, RECORD, Header, record, segment_path

SEGMENT_BYTES = 64 << 20
"""A segment is closed at this size; one that is stored is deleted."""
CAP_BYTES = 4 << 30
"""Bytes that may wait for the database. From three quarters on, one rollout in KEPT_ROLLOUTS is kept; above, none is."""
KEPT_ROLLOUTS = 8
PENDING_BYTES = 32 << 20
"""Bytes that are kept in memory while the disk is full; beyond, rollouts are dropped, and at twice that all events."""

pack, _HEAD_BYTES = RECORD.pack, RECORD.size
_ROLLOUT = b'{"event":"RolloutFinished"'


class SpoolWriter:
    """Appends batches of event lines. Nothing that goes wrong leaves it: it is counted in `lost`, and said once."""

    def __init__(
        self,
        run_dir: Path,
        *,
        run_id: str,
        attempt_uid: str,
        rank: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
        cap_bytes: int = CAP_BYTES,
    ) -> None:
        """Open a new spool. Raises: OSError: it cannot be written."""
        self.folder = run_dir / SPOOL
        self.lost = 0
        """Events that were dropped."""
        self.trouble: str | None = None
        """What went wrong first."""
        self._identity = {"run_id": run_id, "attempt_uid": attempt_uid, "rank": rank}
        self._segment_bytes = segment_bytes
        self._cap_bytes = cap_bytes
        self.uid = uuid.uuid4().hex
        self.segment = -1
        self._began = time.time()
        self._lock = threading.Lock()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._stored_bytes = 0
        self._free_until = 0
        self._first_segment = 0
        self._closed_sizes: list[int] = []
        self._rollouts = 0
        self._file = -1
        self._size = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        self._next_segment()

    @property
    def header(self) -> Header:
        """Of the first segment that is not stored yet."""
        return Header(uid=self.uid, segment=self._first_segment, began=self._began, **self._identity)  # type: ignore[arg-type]

    def append(self, lines: bytes | memoryview) -> None:
        """Write one batch (JSON lines, no newline at the end) as one record, in one call. Never raises."""
        try:
            with self._lock:
                # The usual case, in few steps: a training thread waits here.
                if self._size >= self._free_until:
                    self._append(lines)
                    return
                length = len(lines)
                written = os.writev(self._file, (pack(length, crc32(lines)), lines))
                if written != length + _HEAD_BYTES:
                    self._take_back()
                self._size += written
        except Exception as error:
            self._append_after(error, lines)

    def sync(self) -> None:
        """Try once more to write what a full disk has kept back."""
        with self._lock, contextlib.suppress(OSError):
            self._flush()

    def mark_stored(self, segment: int, position: int) -> None:
        """The database has everything before this byte of this segment; segments before it are deleted."""
        self._stored_bytes = sum(self._closed_sizes[:segment]) + position
        with self._lock, contextlib.suppress(OSError):
            if self._pending and segment == self.segment and position == self._size:
                self._make_room()
                segment = self.segment
            for number in range(self._first_segment, segment):
                segment_path(self.folder, self.uid, number).unlink(missing_ok=True)
            self._first_segment = segment
            self._flush()
            self._look_around()

    def close(self) -> None:
        """Let go of the file; what could not be written by now is lost."""
        self.sync()
        with self._lock:
            for lines in self._pending:
                self._lose(_count(lines), "the disk is full")
            self._pending.clear()
            os.close(self._file)
            # Its number may soon be another file's.
            self._file = -1

    def delete(self) -> None:
        """Remove the files: all is stored."""
        for number in range(self._first_segment, self.segment + 1):
            segment_path(self.folder, self.uid, number).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def abandon(self) -> None:
        """In a forked process: let go of the parent's file, if it is open, and leave the rest to the parent."""
        if self._file >= 0:
            os.close(self._file)

    @property
    def holds_back(self) -> bool:
        """Whether events are in memory because the disk is full."""
        return bool(self._pending)

    def _make_room(self) -> None:
        """On a full disk, let go of a segment that is stored, and begin the next one in its place."""
        try:
            self._next_segment()
        except OSError:
            segment_path(self.folder, self.uid, self.segment).unlink()
            os.ftruncate(self._file, 0)
            self._next_segment()

    def _next_segment(self) -> None:
        segment = self.segment + 1
        path = segment_path(self.folder, self.uid, segment)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        header = Header(uid=self.uid, segment=segment, began=self._began, **self._identity)  # type: ignore[arg-type]
        start = MAGIC + record(json.dumps(asdict(header)).encode())
        try:
            if os.write(file, start) != len(start):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        if self._file >= 0:
            os.close(self._file)
            self._closed_sizes.append(self._size)
        self._file, self.segment, self._size = file, segment, len(start)
        self._look_around()

    def _append_after(self, error: Exception, lines: bytes | memoryview) -> None:
        """The quick way has failed: with the disk, events are put aside; with anything else, they are lost."""
        try:
            with self._lock:
                if not isinstance(error, OSError):
                    raise error
                self._say(error.strerror or str(error))
                self._put_aside(bytes(lines))
                self._look_around()
        except Exception as final:
            self._lose(_count(bytes(lines)), f"{type(final).__name__}: {final}")

    def _append(self, lines: bytes | memoryview) -> None:
        waiting = sum(self._closed_sizes) + self._size - self._stored_bytes
        if waiting > self._cap_bytes * 3 // 4:
            lines = self._thin(bytes(lines), keep=0 if waiting > self._cap_bytes else KEPT_ROLLOUTS)
        if self._pending:
            self._flush()
        if lines and (self._pending or not self._write(lines)):
            self._put_aside(bytes(lines))
        self._look_around()

    def _look_around(self) -> None:
        """Up to which size of this segment nothing needs to be looked at."""
        room = self._cap_bytes * 3 // 4 + self._stored_bytes - sum(self._closed_sizes)
        self._free_until = 0 if self._pending else min(self._segment_bytes, room)

    def _write(self, payload: bytes | memoryview) -> bool:
        try:
            if self._size >= self._segment_bytes:
                self._next_segment()
            self._size += self._write_record(payload)
        except OSError as error:
            self._say(error.strerror or str(error))
            return False
        return True

    def _write_record(self, payload: bytes | memoryview) -> int:
        written = os.writev(self._file, (pack(len(payload), crc32(payload)), payload))
        if written != len(payload) + _HEAD_BYTES:
            self._take_back()
        return written

    def _take_back(self) -> NoReturn:
        """Half a record would hide all that follows. Raises: OSError: always."""
        os.ftruncate(self._file, self._size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _put_aside(self, lines: bytes) -> None:
        if self._pending_bytes > PENDING_BYTES:
            lines = self._thin(lines, keep=0)
        if self._pending_bytes > 2 * PENDING_BYTES:
            self._lose(_count(lines), "the disk is full")
        elif lines:
            self._pending.append(lines)
            self._pending_bytes += len(lines)

    def _flush(self) -> None:
        while self._pending:
            if not self._write(self._pending[0]):
                return
            self._pending_bytes -= len(self._pending.pop(0))

    def _thin(self, lines: bytes, *, keep: int) -> bytes:
        """All but rollouts; of those, one in `keep`, or none."""
        before, kept = lines.split(b"\n"), []
        for line in before:
            if line.startswith(_ROLLOUT):
                self._rollouts += 1
                if not keep or self._rollouts % keep:
                    continue
            kept.append(line)
        if len(kept) < len(before):
            self._lose(len(before) - len(kept), "the spool has reached its limit, so rollouts are left out")
        return b"\n".join(kept)

    def _lose(self, number: int, why: str) -> None:
        self.lost += number
        self._say(why)

    def _say(self, why: str) -> None:
        if self.trouble is None:
            self.trouble = why
            say(f"warning: telemetry cannot be spooled to {self.folder}: {why}")


def _count(lines: bytes) -> int:
    return lines.count(b"\n") + 1 if lines else 0
