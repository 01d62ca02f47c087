"""The tables of the telemetry database. `sft_metrics`, `epoch_metrics`, `rollouts`, `generations` and
`run_controls` are promised by the specification; `runs`, `results` and `step_metrics` stand around them.

Times are seconds since the epoch. `attempt` counts the starts of one run, from 1: a resumed run adds rows, and
the rows of the attempt before stay (`tenyson.telemetry.store` reads the canonical curve).
Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData()


def _id() -> Column[Any]:
    # SQLite numbers rows by itself only where the type is exactly INTEGER.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _of_run() -> list[Column[Any]]:
    return [
        Column("run_id", String(128), nullable=False),
        Column("attempt", Integer, nullable=False),
    ]


runs = Table(
    "runs",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("attempt", Integer, nullable=False),  # the latest
    Column("job_type", String(16), nullable=False),
    Column("task", Text, nullable=False),
    Column("status", String(16), nullable=False),  # running, success, stopped, failed
    Column("config", JSON, nullable=False),
    Column("output_dir", Text, nullable=False),
    Column("total_steps", Integer),
    Column("created_at", Double, nullable=False),  # start of the first attempt
    Column("started_at", Double, nullable=False),  # start of the latest attempt
    Column("finished_at", Double),
)

results = Table(
    "results",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("total_time_seconds", Double),
    Column("metrics", JSON, nullable=False),
    Column("result", JSON, nullable=False),  # the whole JobResult
    Column("created_at", Double, nullable=False),
)

sft_metrics = Table(
    "sft_metrics",
    metadata,
    _id(),
    *_of_run(),
    Column("step", Integer, nullable=False),
    Column("epoch", Double),
    Column("loss", Double),
    Column("eval_loss", Double),
    Column("learning_rate", Double),
    Column("metrics", JSON, nullable=False),  # everything that was logged at this step
    Column("created_at", Double, nullable=False),
    Index("ix_sft_metrics_run_step", "run_id", "step"),
)

step_metrics = Table(
    "step_metrics",
    metadata,
    _id(),
    *_of_run(),
    Column("phase", String(8), nullable=False),  # rl, eval
    Column("step", Integer, nullable=False),
    Column("epoch", Double),
    Column("loss", Double),
    Column("reward", Double),
    Column("kl", Double),
    Column("learning_rate", Double),
    Column("metrics", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("ix_step_metrics_run_step", "run_id", "step"),
)

epoch_metrics = Table(
    "epoch_metrics",
    metadata,
    _id(),
    *_of_run(),
    Column("phase", String(8), nullable=False),
    Column("epoch", Integer, nullable=False),  # from 1
    Column("step", Integer, nullable=False),
    Column("loss", Double),
    Column("kl", Double),
    Column("created_at", Double, nullable=False),
    Index("ix_epoch_metrics_run_epoch", "run_id", "epoch"),
)


def _conversation() -> list[Column[Any]]:
    return [
        *_of_run(),
        Column("phase", String(8), nullable=False),  # rl, eval
        Column("step", Integer, nullable=False),
        Column("sample_id", Text, nullable=False),
        Column("group_id", Text, nullable=False),
        Column("prompt", Text, nullable=False),
        Column("completion", Text, nullable=False),
        Column("created_at", Double, nullable=False),
    ]


generations = Table(
    "generations",
    metadata,
    _id(),
    *_conversation(),
    Index("ix_generations_run_step", "run_id", "phase", "step"),
)

rollouts = Table(
    "rollouts",
    metadata,
    _id(),
    *_conversation(),
    Column("training", Boolean, nullable=False),  # whether it was trained on
    Column("reward", Double),
    Column("components", JSON, nullable=False),
    Column("advantage", Double),
    Column("finish_reason", String(32), nullable=False),
    Column("truncated", Boolean, nullable=False),  # finish_reason is "length"
    Column("tokens", Integer, nullable=False),
    Column("info", JSON, nullable=False),
    Index("ix_rollouts_run_step", "run_id", "phase", "step"),
)

run_controls = Table(
    "run_controls",
    metadata,
    _id(),
    Column("run_id", String(128), nullable=False),
    Column("stop_requested", Boolean, nullable=False, server_default=false()),
    Column("status", String(16), nullable=False, server_default="pending"),  # pending, accepted, expired
    Column("requested_by", Text),
    Column("requested_at", Double),
    Column("accepted_at", Double),
    Index("ix_run_controls_run", "run_id"),
)
