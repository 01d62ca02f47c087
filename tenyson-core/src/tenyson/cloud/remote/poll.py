"""Poll a job: what it logged, what it wrote, its state. Sent as it is, or imported where core is installed; standard library only, Python 3.8.

    python3 poll.py <request >answer

The request is JSON: the job's `folder`; `log_from`, the byte to read its log from; `known`, what the asker has of each file
(size and modification time in ns, null for one that it has sent itself); `control`, lines for the job's control file; `final`, to have the SHA-256 of everything;
`without`, folders to leave out; `most`, the bytes after which no further file is begun.
The answer is a tar stream: `state.json`, the log, the files that changed, `sums.json`, `end`. A file that only grows comes from
where the asker's ends. While sums are made nothing else is to be sent, so `busy` members say that somebody is at work.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import stat
import sys
import tarfile
import time
from pathlib import Path
from typing import IO, Any, Callable, Iterable, Iterator  # noqa: UP035  Python 3.8 has no other

# This file runs alone, by a Python 3.8 without tenyson: the names of `tenyson.core.run_folder` are repeated here.
STATE_FOLDER = Path("/run/tenyson")
LEFT_OUT = frozenset(
    (
        "process.json",
        "control",
        "control.taken",
        "relay.json",
        "machine.json",
        "sync.json",
        "earlier",
        "cancel",
        "terminated",
        "heartbeat.json",
        "verdicts.earlier.jsonl",
        "verdicts.volume.jsonl",
    )
)
"""In the job's folder: what is of this machine alone."""
GROWING = (".spool", ".jsonl")
BUFFER_BYTES = 1 << 18
BUSY_SECONDS = 5.0
TOUCH_SECONDS = 1.0
LOG = "log.txt"
LATEST = "LATEST"


def growing(path: str) -> bool:
    """Whether a file only grows, so that what is known of it stays true."""
    return path == LOG or path.endswith(GROWING)


def read_json(path: Path) -> Any:
    """None where there is no such file, or it is being written."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def state_of(folder: Path) -> dict[str, Any]:
    """none, running or ended; and what the supervisor wrote down at the end."""
    ended, process = read_json(folder / "exit_status.json"), read_json(folder / "process.json")
    if ended is None and process is None:
        return {"state": "none", "exit": None}
    if ended is None and not any(_is_alive(process[who]) for who in ("supervisor", "job")):
        # The status may have been written between the two reads.
        ended = read_json(folder / "exit_status.json") or {"exit_code": None}
    return {"state": "running" if ended is None else "ended", "exit": ended}


def files_below(folder: Path, without: Iterable[str] = ()) -> list[tuple[str, int, int]]:
    """Path, size and modification time of every file; the pointers to the latest checkpoint after all others."""
    found = []
    for path in _walk(folder, {folder / name for name in (*LEFT_OUT, *without)}):
        try:
            entry = path.lstat()
        except OSError:
            continue
        if stat.S_ISREG(entry.st_mode):
            found.append((path.relative_to(folder).as_posix(), entry.st_size, entry.st_mtime_ns))
    return sorted(found, key=lambda file: (file[0].endswith(LATEST), file[0]))


def digest(path: Path, begin: int = 0, meanwhile: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a file from byte `begin` on, in hexadecimal; `meanwhile` is called again and again."""
    sums = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(begin)
        for chunk in iter(lambda: file.read(1 << 20), b""):
            sums.update(chunk)
            meanwhile()
    return sums.hexdigest()


class Answer:
    """A tar stream on standard output. A machine that is being read from is not idle."""

    def __init__(self) -> None:
        self.tar = tarfile.open(  # noqa: SIM115  closed at the end of the poll
            fileobj=sys.stdout.buffer, mode="w|", bufsize=BUFFER_BYTES, format=tarfile.PAX_FORMAT
        )
        self._busy_at = self._touched_at = time.monotonic()

    def busy(self) -> None:
        """Once in a while something for the reader to read, as much as makes the stream pass on what it holds back."""
        self.touch()
        if time.monotonic() - self._busy_at > BUSY_SECONDS:
            self._add("busy", io.BytesIO(bytes(BUFFER_BYTES)), BUFFER_BYTES, {})
            self._busy_at = time.monotonic()

    def touch(self) -> None:
        """Tell the watchdog, once in a while."""
        if time.monotonic() - self._touched_at > TOUCH_SECONDS:
            (STATE_FOLDER / "alive").touch()
            self._touched_at = time.monotonic()

    def add_json(self, name: str, data: Any) -> None:
        """A small member."""
        text = json.dumps(data).encode()
        self._add(name, io.BytesIO(text), len(text), {})

    def add_part(self, name: str, source: Path, begin: int, end: int, **facts: Any) -> None:
        """The bytes of a file from `begin` to `end`. Raises: OSError: it is gone."""
        with source.open("rb") as file:
            file.seek(begin)
            self._add(name, _Padded(file, end - begin, self.touch), end - begin, {"begin": begin, **facts})

    def _add(self, name: str, data: IO[bytes], size: int, facts: dict[str, Any]) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = size
        entry.pax_headers = {f"TENYSON.{key}": str(value) for key, value in facts.items()}
        self.tar.addfile(entry, data)


class _Padded(io.BytesIO):
    """Exactly so many bytes, even if the file shrinks meanwhile: the next poll finds it changed."""

    def __init__(self, file: IO[bytes], length: int, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._file = file
        self._meanwhile = meanwhile
        self._left = length

    def read(self, size: int | None = -1) -> bytes:
        self._meanwhile()
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        data += b"\0" * (wanted - len(data))
        self._left -= len(data)
        return data


def poll(request: dict[str, Any]) -> None:
    """Answer one request on standard output."""
    folder = Path(request["folder"])
    STATE_FOLDER.mkdir(parents=True, exist_ok=True)
    for mark in ("alive", "visited"):
        (STATE_FOLDER / mark).touch()
    if request["control"] and folder.is_dir():
        with (folder / "control").open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in request["control"])
    # Before the files are listed: what was written until the end is then surely listed.
    state = state_of(folder)
    listed = files_below(folder, [LOG, *request["without"]])
    log = folder / LOG
    logged = log.stat().st_size if log.exists() else 0
    state["files"] = {path: [size, mtime] for path, size, mtime in listed}
    answer = Answer()
    answer.add_json("state.json", state)
    if logged > request["log_from"]:
        answer.add_part("log", log, request["log_from"], logged)
    sent = 0
    for path, size, mtime in listed:
        before = request["known"].get(path)
        if before is not None and before[0] == size and before[1] in (mtime, None):
            continue
        if sent > request["most"]:
            break
        begin = before[0] if growing(path) and before is not None and before[0] <= size else 0
        try:
            answer.add_part("file", folder / path, begin, size, path=path, mtime=mtime)
        except FileNotFoundError:
            continue
        sent += size - begin
    if request["final"]:
        sums = {}
        for path, _, _ in listed:
            with contextlib.suppress(FileNotFoundError):
                sums[path] = digest(folder / path, meanwhile=answer.busy)
        answer.add_json("sums.json", sums)
    answer.add_json("end", {})
    answer.tar.close()


def _walk(folder: Path, without: set[Path]) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        if path in without or path.name.startswith(".") or path.name.endswith(".tmp"):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, without)
        else:
            yield path


def _is_alive(who: dict[str, Any]) -> bool:
    # process.py of tenyson-core, sent beside this file: one file says what a process is.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from process import is_alive  # type: ignore[import-not-found]

    return bool(is_alive(who["pid"], who["mark"]))


if __name__ == "__main__":
    poll(json.load(sys.stdin))
