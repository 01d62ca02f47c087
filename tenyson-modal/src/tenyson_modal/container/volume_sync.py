"""Volume sync: brings what a job writes into the volume, so that nothing but the last moments is lost with the container.

The job works on the container's own disk. Its folder is copied to `<volume>/<run id>/`, a checkpoint under its name once it is
whole, a file that only grows by what was added; then `state.json` says what is there, and one commit makes all of it visible.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenyson.cloud.local.archive import archive_attempt
from tenyson.cloud.remote.poll import digest, files_below, growing, read_json
from tenyson.core.files.atomic import write_json
from tenyson.core.run_folder import CHECKPOINTS, LATEST, RunFolder
from tenyson.jobs.checkpoints.publication import check, newest_first, point_to

BEAT_SECONDS = 30.0
"""The state is written at least so often: it is the container's heartbeat."""


class VolumeSync:
    """For one container's work on one attempt.

    Args:
        folder: of the job, on the container's disk.
        kept: of the run, in the volume.
        internal: of the attempt, in the volume.
        commit: makes what was written to the volume visible.
    """

    def __init__(self, folder: Path, kept: Path, internal: Path, commit: Callable[[], None]) -> None:
        self.folder = folder
        self.kept = kept
        self._state_file = internal / "state.json"
        self._commit = commit
        self._known: dict[str, tuple[int, int]] = {}
        """What of the job's folder is in the volume: size and modification time."""
        self._bases: dict[str, int] = {}
        """Where, in the volume, this container's part of a growing file begins."""
        self._written = 0.0
        self._state = ""
        self._more: dict[str, Any] = {}
        self._uncommitted = False
        before = read_json(self._state_file)
        self.before: dict[str, Any] | None = before if isinstance(before, dict) else None
        """What an earlier container of this attempt left."""
        self._starts: dict[str, int] = (self.before or {}).get("starts") or {}
        self.counts: dict[str, int] = (self.before or {}).get("counts") or {
            "preemptions": 0, "crashes": 0, "continued": 0,
        }  # fmt: skip

    def prepare(self, *, resumed: bool) -> None:
        """Make room for this container's work: earlier results move aside, checkpoints come to the container's disk."""
        self.kept.mkdir(parents=True, exist_ok=True)
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        first = self.before is None
        archive_attempt(self.kept, resumed=resumed or not first)
        if first:
            self._starts = {path: size for path, size, _ in files_below(self.kept) if growing(path)}
        self._end_the_last_line()
        if resumed or not first:
            for path in reversed(list(newest_first(self.kept / CHECKPOINTS))):
                if check(path) is None:
                    shutil.copytree(path, self.folder / CHECKPOINTS / path.name, dirs_exist_ok=True)
                    point_to(self.folder / CHECKPOINTS / path.name)
            # What judges answered an earlier container; this one's own file begins empty.
            if RunFolder(self.kept).verdicts.is_file():
                shutil.copyfile(RunFolder(self.kept).verdicts, RunFolder(self.folder).earlier_verdicts[1])
        self._known = {
            path: (size, modified)
            for path, size, modified in files_below(self.folder)
            if (self.kept / path).is_file() and Path(path).name != LATEST
        }

    def sync(self, state: str, **more: Any) -> None:
        """Copy what is new and commit it, with what else the state is to say. Raises: OSError; what commit raises."""
        listed = files_below(self.folder)
        changed = self._copy(listed)
        changed = self._remove_vanished({path for path, _, _ in listed}) or changed
        self._uncommitted = self._uncommitted or changed or state != self._state or more != self._more
        if not self._uncommitted and time.time() - self._written < BEAT_SECONDS:
            return
        self._write_state(state, more)
        self._commit()
        self._written, self._state, self._more, self._uncommitted = time.time(), state, more, False

    def sums(self) -> dict[str, str]:
        """SHA-256 of every file of the attempt in the volume; of one that grows, from where the attempt began."""
        found = {}
        for path, _, _ in files_below(self.kept):
            start = self._starts.get(path, 0)
            found[path] = digest(self.kept / path, start)
        return found

    def _copy(self, listed: list[tuple[str, int, int]]) -> bool:
        new = [
            (path, size, modified)
            for path, size, modified in listed
            if self._known.get(path) != (size, modified)
        ]
        # Checkpoints first: what a job wrote of its steps is then never behind the checkpoint it resumes from.
        for path, size, modified in sorted(
            new, key=lambda file: not file[0].startswith(f"{CHECKPOINTS}/step-")
        ):
            with contextlib.suppress(FileNotFoundError):  # gone since it was listed: the next time tells
                if growing(path):
                    self._grow(path)
                else:
                    self._replace(path, size, modified)
        self._name_whole_checkpoints()
        return bool(new)

    def _grow(self, path: str) -> None:
        there = self.kept / path
        there.parent.mkdir(parents=True, exist_ok=True)
        base = self._bases.setdefault(path, there.stat().st_size if there.exists() else 0)
        begin = self._known.get(path, (0, 0))[0]
        with (self.folder / path).open("rb") as source:
            modified = os.fstat(source.fileno()).st_mtime_ns
            source.seek(begin)
            with there.open("r+b" if there.exists() else "wb") as target:
                target.seek(base + begin)
                shutil.copyfileobj(source, target, 1 << 20)
                size = target.tell() - base
        self._known[path] = (size, modified)

    def _replace(self, path: str, size: int, modified: int) -> None:
        there = self._draft_of(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        draft = there.with_name(f".{there.name}.part")
        shutil.copy2(self.folder / path, draft)
        draft.replace(there)
        self._known[path] = (size, modified)

    def _draft_of(self, path: str) -> Path:
        parts = Path(path).parts
        if parts[0] == CHECKPOINTS and len(parts) > 2 and not (self.kept / CHECKPOINTS / parts[1]).is_dir():
            return self.kept / CHECKPOINTS / f".arriving-{parts[1]}" / Path(*parts[2:])
        return self.kept / path

    def _name_whole_checkpoints(self) -> None:
        for draft in (self.kept / CHECKPOINTS).glob(".arriving-*"):
            if check(draft) is None:
                draft.rename(draft.with_name(draft.name.removeprefix(".arriving-")))

    def _remove_vanished(self, listed: set[str]) -> bool:
        vanished = [path for path in self._known if path not in listed and not growing(path)]
        for path in vanished:
            del self._known[path]
            there = self.kept / path
            there.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others are still in it
                there.parent.rmdir()
        return bool(vanished)

    def _write_state(self, state: str, more: dict[str, Any]) -> None:
        files = {
            path: [size - self._starts.get(path, 0), modified]
            for path, size, modified in files_below(self.kept)
        }
        content = {
            "state": state, "time": time.time(), "starts": self._starts, "counts": self.counts, "files": files, **more,
        }  # fmt: skip
        write_json(self._state_file, content)

    def _end_the_last_line(self) -> None:
        """What an earlier container logged may end in the middle of a line."""
        log = RunFolder(self.kept).log
        if not log.exists() or not log.stat().st_size:
            return
        with log.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
