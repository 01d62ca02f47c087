"""Reading an SQLite file and leaving its folder as it was: nothing is created, changed or locked against writers.

SQLite's own `mode=ro` makes `-wal` and `-shm` files beside a database in WAL mode and fails where it may not. So the way in
depends on what lies beside the file; it is chosen for each connection, since writers come and go.
"""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote

from tenyson.errors import TelemetryError

_URL = re.compile(r"sqlite(?:\+\w+)?:///(?P<database>[^?]+)(?:\?(?P<query>.*))?", re.DOTALL)
BUSY_SECONDS = 30
"""How long one process waits for another one's transaction on one SQLite file."""


class NoRunsYetError(TelemetryError):
    """The database holds a journal of pipelines, and no run has been recorded in it yet."""


class Reading(sqlite3.Connection):
    """A connection that reads a file. It may have been opened as one that nobody writes to."""

    source: Path | None = None
    seen: tuple[object, ...] | None = None
    """What the file looked like when it was opened without locks; None where SQLite's own locks hold."""

    def is_stale(self) -> bool:
        """Whether somebody has begun to write since: what was read may be mixed from before and after."""
        return self.source is not None and self.seen is not None and self.seen != _state(self.source)


def sqlite_file(db_url: str) -> Path | None:
    """The file that an SQLite URL names, also in the form `sqlite:///file:PATH?mode=ro&uri=true`; else None."""
    match = _URL.fullmatch(db_url)
    if match is None or match["database"] == ":memory:":
        return None
    return database_path(match["database"])


def database_path(database: str) -> Path:
    """The path in the database part of an SQLite URL, which may be a `file:` URI itself."""
    if not database.startswith("file:"):
        return Path(database)
    path = unquote(database.removeprefix("file:"))
    # "file:///t.db" and "file://localhost/t.db" name a host, which is this one.
    return Path(re.sub(r"^//(localhost)?(?=/)", "", path))


def asks_read_only(db_url: str) -> bool:
    """Whether the URL itself says that nothing may be written: `mode=ro` or `immutable=1`."""
    match = _URL.fullmatch(db_url)
    options = parse_qs((match and match["query"]) or "")
    return options.get("mode") == ["ro"] or options.get("immutable", ["0"])[-1] in ("1", "true", "on", "yes")


def may_be_written_to(path: Path) -> bool:
    """Whether a writer has the file open, or had when it died: its log of changes lies beside it."""
    path = Path(os.path.realpath(path))
    return any(_size(path, end) is not None for end in ("-wal", "-shm", "-journal"))


def connect_readonly(path: Path) -> Reading:
    """Connect to an existing file.

    Raises: sqlite3.Error: it cannot be read.
    """
    path = Path(os.path.realpath(path))  # SQLite looks for the other files beside what a link names
    for final in (False, False, True):
        # A writer that comes or leaves between the look and the opening changes what is there: look again.
        connection: Reading | None = None
        try:
            connection = _open(path)
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except sqlite3.OperationalError:
            if connection is not None:
                connection.close()
            if final:
                raise
        else:
            return connection
    raise AssertionError  # the last round returns or raises


def _open(path: Path) -> Reading:
    wal, shared = _size(path, "-wal"), _size(path, "-shm")
    if wal is not None and shared is not None:
        # `readonly_shm` also works where everybody is gone: the index of the log is built in memory then.
        return _connect(path, "mode=ro&readonly_shm=1")
    if wal:
        # A copy without its index: read alone and without locks, SQLite builds the index in memory.
        connection = _connect(path, "mode=ro&vfs=unix-none")
        connection.seen = _state(path)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        return connection
    if _size(path, "-journal"):
        return _connect(path, "mode=ro")
    connection = _connect(path, "mode=ro&immutable=1")
    connection.seen = _state(path)
    return connection


def _connect(path: Path, options: str) -> Reading:
    uri = f"file:{quote(os.fspath(path))}?{options}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=Reading
    )
    connection.source = path
    return connection


def _state(path: Path) -> tuple[object, ...]:
    try:
        about = path.stat()
    except OSError:
        return (None,)
    return (about.st_ino, about.st_size, about.st_mtime_ns, _size(path, "-wal"), _size(path, "-journal"))


def _size(path: Path, end: str) -> int | None:
    try:
        return Path(f"{path}{end}").stat().st_size
    except OSError:
        return None
