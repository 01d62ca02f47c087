"""Runs and their names, the newest first; from a SQLite file by the standard library alone, since importing SQLAlchemy
would take longer than all else that `tenyson runs` does.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

from tenyson.core.files.filesystem import is_on_network
from tenyson.telemetry.database.readonly import connect_readonly, may_be_written_to, sqlite_file
from tenyson.telemetry.database.version import HEAD
from tenyson.telemetry.read.record import JSON_FIELDS, RunRecord, columns
from tenyson.telemetry.read.store import Store

_ALIASES = {"runs": "u", "attempts": "a", "results": "r"}
_NAMES = tuple(columns())
_QUERY = (
    f"SELECT {', '.join(f'{_ALIASES[table]}.{name}' for name, table in columns().items())} FROM runs u "
    "LEFT JOIN attempts a ON a.run_id = u.run_id AND a.attempt = u.attempt "
    "LEFT JOIN results r ON r.run_id = u.run_id AND r.attempt = u.attempt "
    "ORDER BY u.started_at DESC LIMIT ?"
)


def list_runs(db_url: str, limit: int | None) -> list[RunRecord]:
    """The runs whose latest attempt started last; all of them without a limit.

    Raises:
        TelemetryError: there is no such database, or it cannot be read.
        MissingDependencyError: the database's driver is not installed.
    """
    rows = _read(db_url, _QUERY, -1 if limit is None else limit)
    if rows is not None:
        return [RunRecord(**dict(zip(_NAMES, map(_plain, _NAMES, row), strict=True))) for row in rows]
    with Store(db_url) as store:
        return store.runs(limit)


def list_names(db_url: str) -> list[str]:
    """Names of all runs. Raises: as `list_runs`."""
    rows = _read(db_url, "SELECT run_id FROM runs ORDER BY started_at DESC")
    if rows is not None:
        return [name for (name,) in rows]
    with Store(db_url) as store:
        return store.run_ids()


def _read(db_url: str, query: str, *arguments: int) -> list[Any] | None:
    """The rows; None where that is left to `Store`, which meets the same trouble and explains it."""
    path = sqlite_file(db_url)
    try:
        if path is None or not path.is_file() or (may_be_written_to(path) and is_on_network(path)):
            return None
        with closing(connect_readonly(path)) as connection:
            connection.execute("PRAGMA query_only = ON")
            if connection.execute("SELECT version_num FROM tenyson_schema").fetchone() != (HEAD,):
                return None
            rows = connection.execute(query, arguments).fetchall()
            return None if connection.is_stale() else rows
    except (OSError, sqlite3.Error):
        return None


def _plain(name: str, value: Any) -> Any:
    return json.loads(value) if name in JSON_FIELDS and value is not None else value
