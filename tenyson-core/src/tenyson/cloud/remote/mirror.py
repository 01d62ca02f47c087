"""The mirror: the run's folder here, made like the one on the machine, poll by poll."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tenyson.cloud.remote.outputs import UNLISTED, OddAnswerError, exit_of, fault, files_of, listed
from tenyson.cloud.remote.poll import digest, growing
from tenyson.cloud.remote.record import own_folder
from tenyson.core.files.atomic import write_json
from tenyson.core.run_folder import CHECKPOINTS, CONTROLLER, LOG, RunFolder
from tenyson.errors import BackendError
from tenyson.jobs.checkpoints.publication import is_pinned, remove
from tenyson.telemetry.relay.oddities import Oddities

STATE = "sync.json"
"""Among our records: what is here of the machine's files."""
RESERVE_BYTES = 256 << 20
"""Of the disk here, which no machine fills."""


@dataclass
class Seen:
    """What a poll of the machine said."""

    state: str
    """none, running or ended."""
    exit: dict[str, Any] | None
    files: dict[str, list[int]]
    """All files there: size and modification time in ns."""
    sums: dict[str, str] = field(default_factory=dict)
    whole: bool = True
    """Whether everything that is there is here now."""
    left_out: frozenset[str] = frozenset()
    """Files that it lists and that are not taken."""

    @classmethod
    def of(cls, data: Any, odd: Oddities) -> Seen:
        """What a machine sent as its state, as far as it can be used. Raises: OddAnswerError."""
        state = data if isinstance(data, dict) else {}
        name = state.get("state")
        if name not in ("none", "running", "ended"):
            raise OddAnswerError("the machine's state is none that there is")
        files = files_of(state.get("files"), odd)
        left_out = frozenset(state["files"]) - frozenset(files)
        return cls(name, exit_of(state.get("exit"), odd), files, left_out=left_out)


class Mirror:
    """What is here of the machine's files, and where more of them goes.

    Args:
        folder: here.
        log_start, bases: where this attempt begins in log.txt and in other files that only grow.
        without: folders that are not fetched.
        follows_removals: whether a file that is gone there goes here too; those that only grow stay.
    """

    def __init__(
        self,
        folder: Path,
        *,
        log_start: int = 0,
        bases: Mapping[str, int] | None = None,
        without: Iterable[str] = (),
        follows_removals: bool = False,
    ) -> None:
        self.folder = folder
        self.odd = Oddities()
        """What the machine sent and should not have."""
        self.moved = 0
        """Bytes that came so far."""
        self.without = tuple(without)
        self._follows_removals = follows_removals
        self.known: dict[str, list[int | None]] = {}
        """Size and modification time of each file as it is here; no time for one that was sent from here."""
        self._bases = {**(bases or {}), LOG: log_start}
        with contextlib.suppress(OSError, ValueError):
            self.known = json.loads((folder / CONTROLLER / STATE).read_text(encoding="utf-8"))

    def missing(self, files: Mapping[str, list[int]]) -> Iterator[tuple[str, int]]:
        """Of the machine's files those that changed, and the offset to fetch from: a file that only grows continues where ours ends."""
        for path, (size, modified) in files.items():
            before = self.known.get(path)
            if before is not None and before[0] == size and before[1] in (modified, None):
                continue
            goes_on = growing(path) and before is not None and before[0] is not None and before[0] <= size
            yield path, int(before[0] or 0) if goes_on and before is not None else 0

    @contextlib.contextmanager
    def remembering(self) -> Iterator[None]:
        """What is taken inside is known the next time, however it ends."""
        before = dict(self.known)
        try:
            yield
        finally:
            if self.known != before:
                self._remember()

    def take(self, path: str, begin: int, size: int, modified: int, data: IO[bytes]) -> None:
        """A file's `size` bytes from `begin` on. Raises: OSError: it cannot be written here."""
        here = self._place(path)
        self.require_room(size)
        here.parent.mkdir(parents=True, exist_ok=True)
        if path in self._bases or begin:
            with here.open("r+b" if here.exists() else "w+b") as file:
                file.seek(self._bases.get(path, 0) + begin)
                shutil.copyfileobj(data, file, 1 << 20)
                file.truncate()
        else:
            draft = here.with_name(f".{here.name}.part")
            with draft.open("wb") as file:
                shutil.copyfileobj(data, file, 1 << 20)
            with contextlib.suppress(OSError, OverflowError):  # a time that this disk does not know
                os.utime(draft, ns=(modified, modified))
            draft.replace(here)
        self.known[path] = [begin + size, modified]
        self.moved += size

    def append_log(self, data: IO[bytes], size: int) -> None:
        """More of this attempt's log. Raises: OSError; BackendError: the disk here has no room for it."""
        self.require_room(size)
        self.moved += size
        with RunFolder(self.folder).log.open("ab") as file:
            shutil.copyfileobj(data, file, 1 << 20)

    def log_size(self) -> int:
        """Bytes of this attempt's log that are here."""
        try:
            return max(0, RunFolder(self.folder).log.stat().st_size - self._bases[LOG])
        except OSError:
            return 0

    def settle(self, seen: Seen) -> Seen:
        """After all of a poll was taken: whole checkpoints get their names, those that the machine deleted go."""
        for path, (size, modified) in seen.files.items():
            if self.known.get(path) == [size, None]:
                self.known[path] = [size, modified]
        self._tidy(seen)
        if self._follows_removals:
            self._drop(path for path in list(self.known) if path not in seen.files and not growing(path))
        seen.whole = all(self.known.get(path) == known for path, known in seen.files.items())
        return seen

    def faults(self, seen: Seen) -> list[str]:
        """Files whose SHA-256 here is not the one there."""
        return [path for path, there in seen.sums.items() if self._sum(path) != there]

    def sent(self, checkpoint: Path) -> None:
        """A checkpoint of this folder that is there now because it was sent from here: it need not come back."""
        for path in checkpoint.rglob("*"):
            if path.is_file():
                self.known[path.relative_to(self.folder).as_posix()] = [path.stat().st_size, None]

    def forget(self, paths: Iterable[str]) -> None:
        """Fetch these again the next time."""
        for path in paths:
            self.known.pop(path, None)
        self._remember()

    def _sum(self, path: str) -> str | None:
        here = self._here(path)
        return digest(here, self._bases.get(path, 0)) if here.is_file() else None

    def _place(self, path: str) -> Path:
        """Where a file goes: one of a checkpoint into a draft, until the checkpoint is whole."""
        if (
            why := fault(path)
        ) is not None:  # whoever calls has checked already; this is where files are made
            raise BackendError(f"the machine sends a file that is not taken: {why}: {path!r}")
        parts = Path(path).parts
        if (
            parts[0] == CHECKPOINTS
            and len(parts) > 2
            and not (RunFolder(self.folder).checkpoints / parts[1]).is_dir()
        ):
            return RunFolder(self.folder).checkpoints / f".arriving-{parts[1]}" / Path(*parts[2:])
        return self._here(path)

    def _here(self, path: str) -> Path:
        return self.folder / path if listed(path) else self.folder / UNLISTED / path

    def require_room(self, size: int) -> None:
        """Raises: BackendError: the disk here has no room for so many bytes."""
        free = shutil.disk_usage(self.folder).free
        if size > max(0, free - RESERVE_BYTES):
            raise BackendError(
                f"the machine sends {size / 1e9:.1f} GB, and the disk here has {free / 1e9:.1f} GB left",
                place=str(self.folder),
                next_step="Make room, then come back with: tenyson attach RUN",
            )

    def _tidy(self, seen: Seen) -> None:
        checkpoints = RunFolder(self.folder).checkpoints
        there = {path.split("/")[1] for path in seen.files if path.startswith("checkpoints/step-")}
        for draft in checkpoints.glob(".arriving-*"):
            name = draft.name.removeprefix(".arriving-")
            wanted = {
                path: known for path, known in seen.files.items() if path.startswith(f"checkpoints/{name}/")
            }
            if not wanted:
                shutil.rmtree(draft, ignore_errors=True)
            elif all(self.known.get(path) == known for path, known in wanted.items()):
                draft.rename(checkpoints / name)
        if CHECKPOINTS in self.without:
            return
        for path in checkpoints.glob("step-*"):
            # Only those that came from there: the next attempt resumes from an earlier attempt's last one.
            came = any(known.startswith(f"checkpoints/{path.name}/") for known in self.known)
            if came and there and path.name not in there and not is_pinned(path):
                remove(path)
                self.known = {
                    name: known
                    for name, known in self.known.items()
                    if not name.startswith(f"checkpoints/{path.name}/")
                }
                self._remember()

    def _drop(self, paths: Iterable[str]) -> None:
        for path in paths:
            if not path.startswith("checkpoints/"):
                self._here(path).unlink(missing_ok=True)
                del self.known[path]

    def _remember(self) -> None:
        write_json(own_folder(self.folder) / STATE, self.known)
