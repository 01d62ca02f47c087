"""Ancestry: a run, what it was made from, and what that was made from, as the database has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenyson.telemetry.read.store import Store

_KEPT = (
    "attempt",
    "status",
    "started_at",
    "git_commit",
    "git_diff_hash",
    "config_hash",
    "accelerator",
    "host",
)


def ancestry(
    store: Store, run_id: str, above: tuple[str, ...] = (), *, others: Sequence[Store] = ()
) -> dict[str, Any]:
    """JSON-safe: run_id, job_type, task, status, metrics, attempts, and `made_from`, whose `run` is the same again.

    A run that the database does not know has no attempts and nothing above it. `above`: the runs below it in the tree, so
    that one which resumed itself is not followed round in a circle. `others`: databases that are asked for runs that the
    first one does not know.
    """
    record = store.run(run_id)
    for other in others:
        if record is None and (record := other.run(run_id)) is not None:
            store = other
    found: dict[str, Any] = {
        "run_id": run_id,
        "job_type": record.job_type if record else None,
        "task": record.task if record else None,
        "status": record.status if record else None,
        "metrics": {k: v for k, v in ((record.result or {}).get("metrics") or {}).items() if v is not None}
        if record
        else {},
        "attempts": [],
        "made_from": [],
    }
    if record is None:
        return found
    for attempt in store.attempts(run_id):
        seed = ((attempt.get("config") or {}).get("run") or {}).get("seed")
        found["attempts"].append({**{key: attempt.get(key) for key in _KEPT}, "seed": seed})
    seen: set[tuple[str, str]] = set()
    for row in store.lineage(run_id):
        key = (str(row["kind"]), str(row["reference"]))
        if key in seen or row["kind"] == "task":
            continue
        seen.add(key)
        source = row["source_run_id"]
        own = source is None or source == run_id or source in above
        found["made_from"].append(
            {
                "kind": row["kind"],
                "reference": row["reference"],
                "run": None if own else ancestry(store, str(source), (*above, run_id), others=others),
            }
        )
    return found
