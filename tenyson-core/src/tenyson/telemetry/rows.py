"""Rows: which tables an event goes to, and as what.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from tenyson.telemetry.events import (
    EpochEnded,
    Event,
    MetricsLogged,
    RolloutFinished,
    RunFinished,
    RunStarted,
)
from tenyson.telemetry.tables import (
    epoch_metrics,
    generations,
    results,
    rollouts,
    runs,
    sft_metrics,
    step_metrics,
)

Row = dict[str, Any]


class Recorder:
    """Stores batches of events. Knows the attempt of each run that was started through it."""

    def __init__(self) -> None:
        self._attempts: dict[str, int] = {}

    def store(self, connection: Connection, events: Iterable[Event]) -> None:
        """Store a batch inside the connection's transaction."""
        batch: dict[Table, list[Row]] = defaultdict(list)
        for event in events:
            if isinstance(event, RunStarted):
                self._attempts[event.run_id] = _start(connection, event)
            attempt = self._attempts.get(event.run_id, 1)
            if isinstance(event, RunFinished):
                _finish(connection, event, attempt)
            for table, row in _rows(event):
                row |= {"run_id": event.run_id, "attempt": attempt, "created_at": event.time}
                batch[table].append(row)
        for table, table_rows in batch.items():
            connection.execute(insert(table), table_rows)


def _start(connection: Connection, event: RunStarted) -> int:
    before = connection.execute(select(runs.c.attempt).where(runs.c.run_id == event.run_id)).scalar()
    row = {
        "attempt": (before or 0) + 1,
        "job_type": event.job_type,
        "task": event.task,
        "status": "running",
        "config": event.config,
        "output_dir": event.output_dir,
        "total_steps": event.total_steps,
        "started_at": event.time,
        "finished_at": None,
    }
    if before is None:
        connection.execute(insert(runs).values(run_id=event.run_id, created_at=event.time, **row))
    else:
        connection.execute(update(runs).where(runs.c.run_id == event.run_id).values(**row))
    return (before or 0) + 1


def _finish(connection: Connection, event: RunFinished, attempt: int) -> None:
    same_run = runs.c.run_id == event.run_id
    connection.execute(update(runs).where(same_run).values(status=event.status, finished_at=event.time))
    connection.execute(delete(results).where(results.c.run_id == event.run_id, results.c.attempt == attempt))
    connection.execute(
        insert(results).values(
            run_id=event.run_id,
            attempt=attempt,
            status=event.status,
            total_time_seconds=event.result.get("total_time_seconds"),
            metrics=event.result.get("metrics") or {},
            result=event.result,
            created_at=event.time,
        )
    )


def _rows(event: Event) -> list[tuple[Table, Row]]:
    match event:
        case MetricsLogged(phase="sft"):
            return [(sft_metrics, _metrics(event, "loss", "eval_loss", "learning_rate"))]
        case MetricsLogged():
            return [
                (
                    step_metrics,
                    _metrics(event, "loss", "reward", "kl", "learning_rate") | {"phase": event.phase},
                )
            ]
        case EpochEnded():
            return [
                (
                    epoch_metrics,
                    {name: getattr(event, name) for name in ("phase", "epoch", "step", "loss", "kl")},
                )
            ]
        case RolloutFinished():
            conversation = {
                "phase": event.phase,
                "step": event.step,
                "sample_id": clean(event.sample_id),
                "group_id": clean(event.group),
                "prompt": clean(event.prompt),
                "completion": clean(event.completion),
            }
            rollout = conversation | {
                "training": event.training,
                "reward": _number(event.reward),
                "components": event.components,
                "advantage": _number(event.advantage),
                "finish_reason": event.finish_reason,
                "truncated": event.finish_reason == "length",
                "tokens": event.tokens,
                "info": event.info,
            }
            return [(rollouts, rollout), (generations, conversation)]
    return []


def _metrics(event: MetricsLogged, *columns: str) -> Row:
    row: Row = {name: _number(event.values.get(name)) for name in columns}
    return row | {"step": event.step, "epoch": event.epoch, "metrics": event.values}


def _number(value: Any) -> float | None:
    # A reward may be a bool, which PostgreSQL does not take for a number.
    return None if value is None else float(value)


def clean(text: str) -> str:
    """Text that every database takes: a model may write NUL characters and half surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
