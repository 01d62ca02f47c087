"""Queries for rollouts: of one run, chosen by their columns, and read with their texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Select


def rollouts_of(run_id: str) -> Select[Any]:
    """The rollouts of a run with the texts of their prompts."""
    from sqlalchemy import select

    from tenyson.telemetry.database.tables import prompts
    from tenyson.telemetry.database.tables import rollout_records as table

    return (
        select(table, prompts.c.text)
        .join(prompts, prompts.c.id == table.c.prompt)
        .where(table.c.run == run_number(run_id), ~table.c.superseded)
    )


def chosen_rollouts(
    run_id: str,
    *,
    dropped: bool | None = None,
    errors: bool | None = None,
    refused: bool | None = None,
    worst: bool | None = None,
    **equal: Any,
) -> Select[Any]:
    """As `Store.rollouts` says, which names the rest of them."""
    from sqlalchemy import select

    from tenyson.telemetry.database.tables import rollout_error_records as broken
    from tenyson.telemetry.database.tables import rollout_records as table

    query = rollouts_of(run_id)
    columns = {
        "phase": table.c.phase,
        "training": table.c.training,
        "step": table.c.step,
        "group": table.c.group_id,
        "sample": table.c.sample_id,
    }
    for name, value in equal.items():
        if value is not None:
            query = query.where(columns[name] == value)
    if dropped is not None:
        query = query.where(table.c.dropped.is_not(None) if dropped else table.c.dropped.is_(None))
    if errors:
        query = query.where(table.c.id.in_(select(broken.c.rollout)))
    if refused:
        query = query.where(table.c.tool_calls_refused > 0)
    if worst is None:
        return query.order_by(table.c.step.desc(), table.c.id.desc())
    reward = table.c.reward.asc() if worst else table.c.reward.desc()
    return query.where(table.c.reward.is_not(None)).order_by(reward, table.c.id)


def readable(rows: list[dict[str, Any]], run_id: str) -> list[dict[str, Any]]:
    """Rows with their texts, as the view `rollouts` has them."""
    from tenyson.telemetry.database.packing import unpacker

    unpack = unpacker()
    found = []
    for row in rows:
        text = {"prompt": row["text"], "completion": unpack(row["completion"])}
        kept = {name: value for name, value in row.items() if name not in ("run", "superseded", "text")}
        found.append({**kept, **text, "run_id": run_id, "truncated": row["finish_reason"] == "length"})
    return found


def errors_of(rollouts: Sequence[int]) -> Select[Any]:
    """What broke some rollouts, given by their ids, in order."""
    from sqlalchemy import select

    from tenyson.telemetry.database.tables import rollout_error_records as table

    return select(table).where(table.c.rollout.in_(rollouts)).order_by(table.c.rollout, table.c.number)


def error_counts(run_id: str) -> Select[Any]:
    """How often each class of error broke rollouts of a run, by source: `failed` for good, or `retried`."""
    from sqlalchemy import case, func, select

    from tenyson.telemetry.database.tables import rollout_error_records as table
    from tenyson.telemetry.database.tables import rollout_records as rollout

    failed = func.sum(case((table.c.retried, 0), else_=1))
    retried = func.sum(case((table.c.retried, 1), else_=0))
    return (
        select(
            table.c.source,
            table.c.error_class,
            failed.label("failed"),
            retried.label("retried"),
            func.min(table.c.message).label("message"),
        )
        .join(rollout, rollout.c.id == table.c.rollout)
        .where(rollout.c.run == run_number(run_id), ~rollout.c.superseded)
        .group_by(table.c.source, table.c.error_class)
        .order_by(failed.desc(), retried.desc(), table.c.source, table.c.error_class)
    )


def calls_of(rollouts: Sequence[int]) -> Select[Any]:
    """The calls of tools of some rollouts, given by their ids, in order."""
    from sqlalchemy import select

    from tenyson.telemetry.database.tables import tool_call_records as table

    return select(table).where(table.c.rollout.in_(rollouts)).order_by(table.c.rollout, table.c.number)


def call_counts(run_id: str) -> Select[Any]:
    """How often calls of each tool of a run came to each outcome: `calls`, with the `seconds` of one on average."""
    from sqlalchemy import func, select

    from tenyson.telemetry.database.tables import rollout_records as rollout
    from tenyson.telemetry.database.tables import tool_call_records as table

    calls = func.count()
    return (
        select(
            table.c.tool,
            table.c.outcome,
            calls.label("calls"),
            func.avg(table.c.seconds).label("seconds"),
            func.min(table.c.cause).label("cause"),
        )
        .join(rollout, rollout.c.id == table.c.rollout)
        .where(rollout.c.run == run_number(run_id), ~rollout.c.superseded)
        .group_by(table.c.tool, table.c.outcome)
        .order_by(calls.desc(), table.c.tool, table.c.outcome)
    )


def run_number(run_id: str) -> Any:
    """The number by which other tables name a run."""
    from sqlalchemy import select

    from tenyson.telemetry.database.tables import runs

    return select(runs.c.id).where(runs.c.run_id == run_id).scalar_subquery()
