"""Events for the telemetry tests, and readers of what became of them."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import sqlalchemy

from tenyson.telemetry.database.engine import open_database
from tenyson.telemetry.events import (
    AttemptBegan,
    MetricsLogged,
    RolloutFinished,
    RunFinished,
    RunStarted,
)
from tenyson.telemetry.events.json_text import event_line
from tenyson.telemetry.spool.writer import SpoolWriter

UID = "0123456789abcdef" * 2


def rows(db_url, query):
    """A user's own SQL against the database."""
    engine = open_database(db_url, create=False)
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(sqlalchemy.text(query)).mappings()]
    engine.dispose()
    return found


def dump(db_url):
    """Every row of every table, but for what says when a writer was last seen."""
    engine = open_database(db_url, create=False)
    found = {}
    with engine.connect() as connection:
        for name in sorted(sqlalchemy.inspect(connection).get_table_names()):
            if name == "spools":
                continue
            table = [
                dict(row) for row in connection.execute(sqlalchemy.text(f"SELECT * FROM {name}")).mappings()
            ]
            for row in table:
                row.pop("heartbeat_at", None)
            found[name] = sorted(json.dumps(row, sort_keys=True, default=str) for row in table)
    engine.dispose()
    return found


def started(run_id="run-1", job_type="rl", **fields):
    config = fields.pop("config", {"a": 1})
    return RunStarted(
        run_id=run_id, job_type=job_type, task="echo", config=config, output_dir="out", **fields
    )


def began(step, run_id="run-1", **fields):
    return AttemptBegan(run_id=run_id, step=step, **fields)


def finished(run_id="run-1", status="success", **fields):
    result = {"total_time_seconds": 1.0, "metrics": {}}
    return RunFinished(run_id=run_id, status=status, result=result, **fields)


def metrics(step, run_id="run-1", phase="rl", time=None, **values):
    at = {} if time is None else {"time": time}
    return MetricsLogged(run_id=run_id, phase=phase, step=step, values=values or {"loss": 1.0}, **at)


def rollout(**fields):
    return RolloutFinished(
        **{
            "run_id": "run-1", "phase": "rl", "training": True, "step": 3, "sample_id": "s1", "group": "3/s1",
            "prompt": "2+2=", "completion": "4", "reward": 1.5, "components": {"right": 1.0}, "trained": True,
        }
        | fields
    )  # fmt: skip


def lines(*events):
    """A batch as the spool takes it."""
    return b"\n".join(map(event_line, events))


def writer(run_dir: Path, **options):
    """A spool of its own for the run's folder."""
    return SpoolWriter(run_dir, **{"run_id": "run-1", "attempt_uid": UID} | options)


def sqlite_path(db_url):
    return db_url.removeprefix("sqlite:///")


def sqlite(db_url):
    """A plain client, as any program may have."""
    return sqlite3.connect(sqlite_path(db_url), timeout=30)


def left_behind(run_dir, *batches, **options):
    """A dead process's spool."""
    spooled = writer(run_dir, **options)
    for batch in batches:
        spooled.append(lines(*batch))
    os.close(spooled._file)
    return spooled
