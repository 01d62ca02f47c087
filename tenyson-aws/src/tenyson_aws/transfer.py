"""Transfer: files to the machine and back, as tar streams through one command each, so that many small files cost little."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from tenyson.errors import BackendError
from tenyson.jobs.publication import is_pinned, remove, sha256
from tenyson_aws.ssh import Connection

HOME = "/opt/tenyson"
"""Of everything of ours on the machine but the job's own files."""
TOOLS = f"{HOME}/tools"
STATE = "sync.json"
"""In the run's folder: what is here of the machine's files."""
RECEIVE = """
mkdir -p /run/tenyson
while sleep 1; do touch /run/tenyson/alive; done </dev/null >/dev/null 2>&1 &
busy=$!
tar -x --no-same-owner -f - -C /
code=$?
kill $busy
exit $code
"""
"""Unpacks a tar stream; a machine that receives is not idle. What runs beside it must not hold the connection's end open."""
TRANSFER_SECONDS = 120.0
"""The longest pause of a transfer."""
MOST_BYTES = 256 << 20
"""Of one look while a job runs: beyond, further files wait for the next one, and the log comes in between."""


def send(connection: Connection, entries: Iterable[tuple[Path, str]]) -> None:
    """Files and folders from here to absolute paths there. Raises: UnreachableError, CommandError."""

    def fill(tar: tarfile.TarFile) -> None:
        for path, name in entries:
            tar.add(path, name.lstrip("/"), filter=_anonymous)

    _send(connection, fill)


def send_texts(connection: Connection, texts: Mapping[str, str]) -> None:
    """Small texts to absolute paths there. Raises: UnreachableError, CommandError."""

    def fill(tar: tarfile.TarFile) -> None:
        for name, text in texts.items():
            data = text.encode()
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))

    _send(connection, fill)


def _send(connection: Connection, fill: Callable[[tarfile.TarFile], None]) -> None:
    def write(stream: io.RawIOBase) -> None:
        with (
            io.BufferedWriter(stream, 1 << 18) as buffered,
            tarfile.open(fileobj=buffered, mode="w|", bufsize=1 << 18, format=tarfile.PAX_FORMAT) as tar,
        ):
            fill(tar)

    connection.feed(["sh", "-c", RECEIVE], write, seconds=TRANSFER_SECONDS)


def send_tools(connection: Connection) -> None:
    """What a look needs; core's process.py among them, so that one file says what a process is."""
    machine = files("tenyson_aws.machine")
    texts = {
        f"{TOOLS}/{name}": machine.joinpath(name).read_text(encoding="utf-8")
        for name in ("look.py", "install.sh")
    }
    texts[f"{TOOLS}/process.py"] = files("tenyson.cloud").joinpath("process.py").read_text(encoding="utf-8")
    send_texts(connection, texts)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = int(entry.mtime)  # a fraction would cost each file a header of its own
    return entry


@dataclass
class Seen:
    """What a look at the machine said."""

    state: str
    """none, running or ended."""
    exit: dict[str, Any] | None
    files: dict[str, list[int]]
    """All files there: size and modification time in ns."""
    sums: dict[str, str] = field(default_factory=dict)
    whole: bool = True
    """Whether everything that is there is here now."""


class Mirror:
    """The run's folder here, made like the one on the machine, look by look.

    Args:
        folder: here.
        there: the folder on the machine.
        log_start, bases: where this attempt begins in log.txt and in other files that only grow.
    """

    def __init__(
        self,
        folder: Path,
        there: str,
        *,
        log_start: int = 0,
        bases: Mapping[str, int] | None = None,
        without: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self.there = there
        self._log_start = log_start
        self._bases = dict(bases or {})
        self._without = list(without)
        self._known: dict[str, list[int | None]] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = json.loads((folder / STATE).read_text(encoding="utf-8"))

    def look(
        self,
        connection: Connection,
        *,
        control: Iterable[str] = (),
        final: bool = False,
        most: int = MOST_BYTES,
    ) -> Seen:
        """Fetch what is new. Raises: UnreachableError, CommandError; OSError: it cannot be written here."""
        request = {
            "folder": self.there,
            "log_from": self._log_size(),
            "known": self._known,
            "control": list(control),
            "final": final,
            "without": self._without,
            "most": most,
        }
        stream = connection.stream(
            ["python3", f"{TOOLS}/look.py"], send=json.dumps(request).encode(), seconds=TRANSFER_SECONDS
        )
        seen: Seen | None = None
        ended = False
        before = dict(self._known)
        try:
            with tarfile.open(fileobj=io.BufferedReader(stream, 1 << 18), mode="r|", bufsize=1 << 18) as tar:
                for entry in tar:
                    data = tar.extractfile(entry)
                    assert data is not None
                    if entry.name == "state.json":
                        state = json.loads(data.read())
                        seen = Seen(state["state"], state["exit"], state["files"], state.get("sums", {}))
                    elif entry.name == "log":
                        self._append(self.folder / "log.txt", data)
                    elif entry.name == "file":
                        self._take(entry, data)
                    elif entry.name == "end":
                        ended = True
            stream.finish()
        except tarfile.TarError as error:
            stream.finish()
            raise BackendError(f"the machine's answer breaks off: {error}") from error
        finally:
            if self._known != before:
                self._remember()
        if seen is None or not ended:
            raise BackendError("the machine's answer breaks off")
        for path, (size, mtime) in seen.files.items():
            if self._known.get(path) == [size, None]:
                self._known[path] = [size, mtime]
        self._tidy(seen)
        seen.whole = all(self._known.get(path) == known for path, known in seen.files.items())
        return seen

    def faults(self, seen: Seen) -> list[str]:
        """Files whose SHA-256 here is not the one there."""
        return [path for path, digest in seen.sums.items() if self._sum(path) != digest]

    def sent(self, checkpoint: Path) -> None:
        """A checkpoint of this folder that is there now because it was sent from here: it need not come back."""
        for path in checkpoint.rglob("*"):
            if path.is_file():
                self._known[path.relative_to(self.folder).as_posix()] = [path.stat().st_size, None]

    def forget(self, paths: Iterable[str]) -> None:
        """Fetch these anew the next time."""
        for path in paths:
            self._known.pop(path, None)
        self._remember()

    def _sum(self, path: str) -> str | None:
        here = self.folder / path
        if not here.is_file():
            return None
        if not self._bases.get(path):
            return sha256(here)
        sums = hashlib.sha256()
        with here.open("rb") as file:
            file.seek(self._bases[path])
            while chunk := file.read(1 << 20):
                sums.update(chunk)
        return sums.hexdigest()

    def _take(self, entry: tarfile.TarInfo, data: Any) -> None:
        path, begin = entry.pax_headers["TENYSON.path"], int(entry.pax_headers["TENYSON.begin"])
        here = self._place(path)
        here.parent.mkdir(parents=True, exist_ok=True)
        modified = int(entry.pax_headers["TENYSON.mtime"])
        if path in self._bases or begin:
            with here.open("r+b" if here.exists() else "w+b") as file:
                file.seek(self._bases.get(path, 0) + begin)
                shutil.copyfileobj(data, file, 1 << 20)
                file.truncate()
        else:
            draft = here.with_name(f".{here.name}.part")
            with draft.open("wb") as file:
                shutil.copyfileobj(data, file, 1 << 20)
            os.utime(draft, ns=(modified, modified))
            draft.replace(here)
        self._known[path] = [begin + entry.size, modified]

    def _place(self, path: str) -> Path:
        """Where a file goes: one of a checkpoint into a draft, until the checkpoint is whole."""
        parts = Path(path).parts
        if ".." in parts or Path(path).is_absolute():
            raise BackendError(f"the machine names a file outside of its folder: {path!r}")
        if (
            parts[0] == "checkpoints"
            and len(parts) > 2
            and not (self.folder / "checkpoints" / parts[1]).is_dir()
        ):
            return self.folder / "checkpoints" / f".arriving-{parts[1]}" / Path(*parts[2:])
        return self.folder / path

    def _tidy(self, seen: Seen) -> None:
        """Give whole checkpoints their names; let go of those that the machine has deleted."""
        checkpoints = self.folder / "checkpoints"
        there = {path.split("/")[1] for path in seen.files if path.startswith("checkpoints/step-")}
        for draft in checkpoints.glob(".arriving-*"):
            name = draft.name.removeprefix(".arriving-")
            wanted = {
                path: known for path, known in seen.files.items() if path.startswith(f"checkpoints/{name}/")
            }
            if not wanted:
                shutil.rmtree(draft, ignore_errors=True)
            elif all(self._known.get(path) == known for path, known in wanted.items()):
                draft.rename(checkpoints / name)
        if "checkpoints" in self._without:
            return
        for path in checkpoints.glob("step-*"):
            # Only those that came from there: an earlier attempt's last one is what the next goes on from.
            came = any(known.startswith(f"checkpoints/{path.name}/") for known in self._known)
            if came and there and path.name not in there and not is_pinned(path):
                remove(path)
                self._known = {
                    name: known
                    for name, known in self._known.items()
                    if not name.startswith(f"checkpoints/{path.name}/")
                }
                self._remember()

    def _append(self, path: Path, data: Any) -> None:
        with path.open("ab") as file:
            shutil.copyfileobj(data, file, 1 << 20)

    def _log_size(self) -> int:
        """Bytes of this attempt's log that are here."""
        try:
            return max(0, (self.folder / "log.txt").stat().st_size - self._log_start)
        except OSError:
            return 0

    def _remember(self) -> None:
        draft = self.folder / f"{STATE}.tmp"
        draft.write_text(json.dumps(self._known), encoding="utf-8")
        draft.replace(self.folder / STATE)
