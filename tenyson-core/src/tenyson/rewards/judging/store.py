"""The store of answers: SQLite in the cache folder, so that no run on this machine asks what another one has asked.

It has answers that could be read. An answer is in it before it is used.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenyson.core.files.cache_folder import cache_folder
from tenyson.core.files.filesystem import is_on_network
from tenyson.rewards.judging.answer import Answer
from tenyson.rewards.judging.errors import JudgeStoreError

BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, url TEXT NOT NULL, model TEXT NOT NULL, text TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, usd REAL, created_at REAL NOT NULL
)
"""


def _place() -> Path:
    """SQLite's locks do not hold between machines, so each has a file of its own where several share the cache."""
    path = cache_folder() / "verdicts.sqlite"
    return path.with_stem(f"verdicts-{platform.node()}") if is_on_network(path) else path


class Store:
    """The answers of all judges on this machine. Threads and processes may share it.

    Raises: JudgeStoreError: from any method: the file cannot be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or _place()
        self._lock = threading.Lock()
        self._opened: tuple[int, sqlite3.Connection] | None = None

    def find(self, key: str) -> Answer | None:
        """The answer that is known."""
        query = "SELECT text, prompt_tokens, completion_tokens, usd FROM answers WHERE key = ?"
        with self._using() as connection:
            row = connection.execute(query, (key,)).fetchone()
        return None if row is None else Answer(*row)

    def keep(self, key: str, answer: Answer, *, url: str, model: str) -> Answer:
        """Keep an answer; returns the one that holds, which another process may have kept before."""
        row = (
            *(key, url, model, answer.text, answer.prompt_tokens, answer.completion_tokens),
            *(answer.usd, time.time()),
        )
        with self._using() as connection:
            connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return self.find(key) or answer

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                # A connection must not be used in a process that was forked from the one that opened it.
                if self._opened is None or self._opened[0] != os.getpid():
                    self._opened = os.getpid(), self._open()
                yield self._opened[1]
            except (OSError, sqlite3.Error) as error:
                raise JudgeStoreError(
                    f"the judge's answers cannot be kept: {error}",
                    place=str(self._path),
                    next_step="Set TENYSON_CACHE to a folder on a local disk that can be written.",
                ) from error

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_SCHEMA)
        return connection
