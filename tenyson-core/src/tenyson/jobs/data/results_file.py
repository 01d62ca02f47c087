"""results.json as it is read again: a file of another shape is refused, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenyson.config.shape import Damaged, read_json, shape_problems
from tenyson.errors import TenysonError
from tenyson.telemetry.events.strict_json import restore

_SHAPE: dict[str, Any] = {
    "job_type": str,
    "task": str | None,
    "run_id": str,
    "model": dict[str, Any] | None,
    "metadata": dict[str, Any] | None,
    "metrics": dict[str, dict[str, Any]],
}
_METRIC: dict[str, Any] = {"value": float | None, "low": float | None, "high": float | None, "n": int | None}


def read_results(path: Path) -> dict[str, Any]:
    """What `results.json` holds. Raises: TenysonError: it cannot be read, is no JSON, or has another shape."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TenysonError(f"these results cannot be read: {error}", place=str(path)) from error
    data = read_json(text)
    if isinstance(data, Damaged):
        raise TenysonError(f"these are no results: {data.why}", place=str(path))
    data = restore(data)
    problems = list(shape_problems(data, _SHAPE, ""))
    if not problems:
        for name, metric in (data.get("metrics") or {}).items():
            problems += shape_problems(metric, _METRIC, f"metrics.{name}")
    if problems:
        raise TenysonError(f"these are no results: {problems[0].lstrip('.: ')}", place=str(path))
    found: dict[str, Any] = data
    return found
