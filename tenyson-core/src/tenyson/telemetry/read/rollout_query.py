"""Queries for rollouts: of one run, chosen by their columns, and read with their texts."""

from __future__ import annotations

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
    run_id: str, *, dropped: bool | None = None, worst: bool | None = None, **equal: Any
) -> Select[Any]:
    """As `Store.rollouts` says, which names the rest of them."""
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


def run_number(run_id: str) -> Any:
    """The number by which other tables name a run."""
    from sqlalchemy import select

    from tenyson.telemetry.database.tables import runs

    return select(runs.c.id).where(runs.c.run_id == run_id).scalar_subquery()
