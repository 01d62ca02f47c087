"""From one table a promise to records and views: runs by number, prompts once, attempts, groups, spools."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa
from alembic import op

from tenyson.telemetry.migrations.frozen import frozen_statements

revision = "0002"
down_revision = "0001"

CHUNK = 2000
OLD = ("runs", "sft_metrics", "step_metrics", "epoch_metrics", "rollouts", "generations", "run_controls")
UNKNOWN = "not recorded before schema 0002"


def upgrade() -> None:
    """Set the old tables aside, make the new ones, carry everything over, drop the old ones."""
    connection = op.get_bind()
    for name in OLD:
        for index in sa.inspect(connection).get_indexes(name):
            connection.exec_driver_sql(f"DROP INDEX {index['name']}")
        connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO old_{name}")
    connection.exec_driver_sql("ALTER TABLE results RENAME TO old_results")
    tables, views = frozen_statements("0002", connection.dialect.name)
    for statement in tables:
        connection.exec_driver_sql(statement)
    _runs(connection)
    _metrics(connection)
    for rows in _chunks(connection, "old_rollouts"):
        _rollouts(connection, rows)
    _attempts(connection)
    _groups(connection)
    connection.exec_driver_sql(
        "INSERT INTO run_controls (id, run_id, stop_requested, status, requested_by, requested_at, accepted_at) "
        "SELECT id, run_id, stop_requested, CASE WHEN status = 'accepted' THEN 'applied' ELSE 'expired' END, "
        "requested_by, requested_at, accepted_at FROM old_run_controls"
    )
    if connection.dialect.name == "postgresql":  # rows with given ids do not move the sequence
        connection.exec_driver_sql(
            "SELECT setval(pg_get_serial_sequence('run_controls', 'id'), "
            "(SELECT coalesce(max(id), 0) + 1 FROM run_controls), false)"
        )
    for name in (*OLD, "results"):
        connection.exec_driver_sql(f"DROP TABLE old_{name}")
    for statement in views:
        connection.exec_driver_sql(statement)


def _runs(connection: sa.Connection) -> None:
    same = (
        "run_id, attempt, job_type, task, status, config, output_dir, total_steps, created_at, started_at, "
        "finished_at"
    )
    connection.exec_driver_sql(
        f"INSERT INTO runs ({same}) SELECT {same} FROM old_runs ORDER BY created_at, run_id"
    )
    # Notices and the like may have been recorded without the start of their run.
    for table in ("old_sft_metrics", "old_step_metrics", "old_epoch_metrics", "old_rollouts"):
        connection.exec_driver_sql(
            "INSERT INTO runs (run_id, attempt, job_type, task, status, config, output_dir, created_at, started_at) "
            "SELECT run_id, max(attempt), '', '', 'failed', '{}', '', min(created_at), min(created_at) "
            f"FROM {table} WHERE run_id NOT IN (SELECT run_id FROM runs) GROUP BY run_id"
        )
    same = "run_id, attempt, status, total_time_seconds, metrics, result, created_at"
    connection.exec_driver_sql(f"INSERT INTO results ({same}) SELECT {same} FROM old_results")


def _metrics(connection: sa.Connection) -> None:
    # Ids of the two tables overlap; those of spools begin at 1 << 32.
    for table, phase, shift in (("old_sft_metrics", "'sft'", 0), ("old_step_metrics", "o.phase", 1 << 31)):
        connection.exec_driver_sql(
            "INSERT INTO metric_records (id, run, attempt, phase, step, epoch, metrics, created_at) "
            f"SELECT o.id + {shift}, r.id, o.attempt, {phase}, o.step, o.epoch, o.metrics, o.created_at "
            f"FROM {table} o JOIN runs r ON r.run_id = o.run_id"
        )
    connection.exec_driver_sql(
        "INSERT INTO epoch_records (id, run, attempt, phase, epoch, step, loss, kl, created_at) "
        "SELECT o.id, r.id, o.attempt, o.phase, o.epoch, o.step, o.loss, o.kl, o.created_at "
        "FROM old_epoch_metrics o JOIN runs r ON r.run_id = o.run_id"
    )


def _rollouts(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    numbers: dict[str, int] = dict(connection.execute(sa.text("SELECT run_id, id FROM runs")).all())
    prompts = {prompt_id(row["prompt"]): row["prompt"] for row in rows}
    connection.execute(
        sa.text("INSERT INTO prompts (id, text) VALUES (:id, :text) ON CONFLICT (id) DO NOTHING"),
        [{"id": number, "text": text} for number, text in prompts.items()],
    )
    json = sa.JSON()
    query = sa.text(
        "INSERT INTO rollout_records (id, run, attempt, phase, training, step, sample_id, group_id, prompt, "
        "completion, reward, components, advantage, finish_reason, trained, tokens, info, created_at) VALUES "
        "(:id, :run, :attempt, :phase, :training, :step, :sample_id, :group_id, :prompt, :completion, :reward, "
        ":components, :advantage, :finish_reason, :trained, :tokens, :info, :created_at)"
    ).bindparams(sa.bindparam("components", type_=json), sa.bindparam("info", type_=json))
    connection.execute(
        query,
        [
            {
                **row,
                "run": numbers[row["run_id"]],
                "prompt": prompt_id(row["prompt"]),
                "trained": row["training"],
            }
            for row in rows
        ],
    )


def _attempts(connection: sa.Connection) -> None:
    """A row for each attempt that left a trace; each begins where its first step is, and supersedes from there."""
    latest = {row["run_id"]: row for row in connection.execute(sa.text("SELECT * FROM runs")).mappings()}
    first_steps = connection.execute(
        sa.text("SELECT run, attempt, min(step) AS step FROM metric_records GROUP BY run, attempt")
    ).all()
    evaluations = {row["id"] for row in latest.values() if row["job_type"] == "eval"}
    began = {
        (run, attempt): 0 if run in evaluations else max(0, step - 1) for run, attempt, step in first_steps
    }
    ended = {
        (row["run_id"], row["attempt"]): row
        for row in connection.execute(sa.text("SELECT * FROM results")).mappings()
    }
    config = sa.bindparam("config", type_=sa.JSON())
    query = sa.text(
        "INSERT INTO attempts (run_id, attempt, uid, status, began_at_step, config, versions, started_at, "
        "finished_at, exit_reason) VALUES (:run_id, :attempt, :uid, :status, :began, :config, '{}', :started, "
        ":finished, :reason)"
    ).bindparams(config)
    for run_id, run in latest.items():
        stored = run["config"]
        if isinstance(stored, str):
            stored = sa.JSON().result_processor(connection.dialect, None)(stored)  # type: ignore[misc]
        for attempt in range(1, run["attempt"] + 1):
            end = ended.get((run_id, attempt))
            is_last = attempt == run["attempt"]
            connection.execute(
                query,
                {
                    "run_id": run_id, "attempt": attempt, "uid": secrets.token_hex(16),
                    "status": end["status"] if end else run["status"] if is_last else "failed",
                    "began": began.get((run["id"], attempt)),
                    "config": stored,
                    # No two at one moment, since their order is told by it.
                    "started": run["started_at"] if is_last else run["created_at"] - run["attempt"] + attempt,
                    "finished": end["created_at"] if end else None,
                    "reason": UNKNOWN,
                },
            )  # fmt: skip
            step = began.get((run["id"], attempt))
            if attempt > 1 and step is not None:
                _supersede(connection, run["id"], attempt, step)


def _supersede(connection: sa.Connection, run: int, attempt: int, step: int) -> None:
    yes = "1" if connection.dialect.name == "sqlite" else "true"
    for table in ("metric_records", "epoch_records", "rollout_records"):
        repeated = "step > :step"
        if table == "rollout_records":
            repeated = "(step > :step OR (training AND step >= :step))"
        connection.execute(
            sa.text(
                f"UPDATE {table} SET superseded = {yes} WHERE run = :run AND attempt < :attempt "
                f"AND (:step = 0 OR {repeated})"
            ),
            {"run": run, "attempt": attempt, "step": step},
        )


def _groups(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "INSERT INTO rollout_groups (run, step, group_id, attempt, phase, training, sample_id, n, scored, "
        "reward_sum, reward_squares, reward_mean, reward_min, reward_max, truncated, tokens, superseded) "
        "SELECT run, step, group_id, attempt, phase, training, min(sample_id), count(*), count(reward), "
        "coalesce(sum(reward), 0), coalesce(sum(reward * reward), 0), avg(reward), min(reward), max(reward), "
        "sum(CASE WHEN finish_reason = 'length' THEN 1 ELSE 0 END), sum(tokens), superseded "
        "FROM rollout_records GROUP BY run, step, group_id, attempt, phase, training, superseded"
    )


def _chunks(connection: sa.Connection, table: str) -> Iterator[list[dict[str, Any]]]:
    types: dict[str, Any] = {"components": sa.JSON(), "info": sa.JSON(), "training": sa.Boolean()}
    last = 0
    while True:
        query = sa.text(f"SELECT * FROM {table} WHERE id > :last ORDER BY id LIMIT {CHUNK}").columns(**types)
        rows = [dict(row) for row in connection.execute(query, {"last": last}).mappings()]
        if not rows:
            return
        yield rows
        last = rows[-1]["id"]


def prompt_id(text: str) -> int:
    """As schema 0002 numbers prompts."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
