"""The store of answers: SQLite in the cache folder, so that a run that was killed, or another run, asks nothing twice.

An answer is in the store before it is used. One that could not be read is given again to the same run alone: another may find the
judge in better order.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenyson.core.cache_folder import cache_folder
from tenyson.rewards.judging.errors import JudgeStoreError

BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, url TEXT NOT NULL, run TEXT NOT NULL, text TEXT NOT NULL,
    readable INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, usd REAL, created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS spending (
    run TEXT NOT NULL, url TEXT NOT NULL, model TEXT NOT NULL, calls INTEGER NOT NULL, tokens INTEGER NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (run, url, model)
);
"""


@dataclass(frozen=True)
class Answer:
    """What a judge said."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    usd: float | None = None


@dataclass(frozen=True)
class Spent:
    """What one run has had answered by one model."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0


class Store:
    """The answers of all judges on this machine. Threads and processes may share it."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or cache_folder() / "verdicts.sqlite"
        self._lock = threading.Lock()
        self._opened: tuple[int, sqlite3.Connection] | None = None

    def find(self, key: str, run: str) -> Answer | None:
        """The answer that is known, for this run."""
        query = "SELECT text, prompt_tokens, completion_tokens, usd FROM answers WHERE key = ? AND (readable OR run = ?)"
        with self._using() as connection:
            row = connection.execute(query, (key, run)).fetchone()
        return None if row is None else Answer(*row)

    def keep(self, key: str, answer: Answer, *, url: str, model: str, run: str, readable: bool) -> Answer:
        """Keep an answer that was paid for; returns the one that holds, which another process may have kept before."""
        tokens = answer.prompt_tokens + answer.completion_tokens
        with self._using() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                    "run = excluded.run, text = excluded.text, readable = excluded.readable, usd = excluded.usd, "
                    "prompt_tokens = excluded.prompt_tokens, completion_tokens = excluded.completion_tokens, "
                    "created_at = excluded.created_at WHERE NOT answers.readable AND answers.run <> excluded.run",
                    (key, model, url, run, answer.text, readable, answer.prompt_tokens, answer.completion_tokens,
                     answer.usd, time.time()),
                )  # fmt: skip
                connection.execute(
                    "INSERT INTO spending VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT (run, url, model) DO UPDATE SET "
                    "calls = calls + 1, tokens = tokens + excluded.tokens, usd = usd + excluded.usd",
                    (run, url, model, tokens, answer.usd or 0.0),
                )
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        return self.find(key, run) or answer

    def spent(self, run: str, *, url: str, model: str) -> Spent:
        """What was paid for by this run, in all its attempts."""
        query = "SELECT calls, tokens, usd FROM spending WHERE run = ? AND url = ? AND model = ?"
        with self._using() as connection:
            row = connection.execute(query, (run, url, model)).fetchone()
        return Spent() if row is None else Spent(*row)

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
        connection.executescript(_SCHEMA)
        return connection
