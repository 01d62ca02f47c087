"""What a person sees when a pipeline is over: the report, the numbers with their intervals, what to try next."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenyson.cloud.follow import seconds_in_words
from tenyson.pipeline.execute import Execution
from tenyson.pipeline.plan import Plan
from tenyson.tasks.plugin import TaskPlugin

MOST_METRICS = 3
_COLOURS = {"success": "green", "stopped": "yellow", "failed": "bold red"}


def outcome_data(plan: Plan, execution: Execution, resume: str) -> dict[str, Any]:
    """The outcome as JSON-safe data."""
    result = execution.result
    return {
        "pipeline": plan.id,
        "title": plan.title,
        "status": result.status,
        "total_time_seconds": result.total_time_seconds,
        "report": str(execution.report) if execution.report else None,
        "resume": None if result.status == "success" else resume,
        "steps": [
            {"label": label, "intervals": read_metrics(one.local_output_dir), "result": vars(one)}
            for label, one in result.results.items()
        ],
    }


def print_outcome(
    plan: Plan, execution: Execution, task: TaskPlugin, next_command: str, console: Console
) -> None:
    """Print the stages with what was measured, the report's path and the next command."""
    result = execution.result
    measured = {
        step.label: read_metrics(one.local_output_dir)
        for step in plan.steps
        if step.job == "eval" and (one := result.results.get(step.label))
    }
    columns = headline(task, measured.values())
    table = Table(
        "stage", "status", "time", *(name.replace("_", " ") for name in columns), box=None, pad_edge=False
    )
    for step in plan.steps:
        one = result.results.get(step.label)
        status = one.status if one else "not run"
        cells = [in_words(measured.get(step.label, {}).get(name)) for name in columns]
        took = seconds_in_words(one.total_time_seconds) if one else ""
        table.add_row(step.label, Text(status, style=_COLOURS.get(status, "dim")), took, *cells)
    console.print()
    console.print(table)
    if columns:
        console.print(Text("values with their 95% intervals", style="dim"))
    if execution.report:
        console.print(Text(f"report: {execution.report}"), soft_wrap=True)
    console.print(Text(f"next:   {next_command}", style="bold"), soft_wrap=True)


def read_metrics(folder: str | None) -> dict[str, dict[str, Any]]:
    """`metrics` of a job folder's results.json; empty where there is none."""
    try:
        metrics = json.loads((Path(folder or "") / "results.json").read_text(encoding="utf-8"))["metrics"]
    except (OSError, ValueError, KeyError):
        return {}
    return {name: entry for name, entry in metrics.items() if isinstance(entry, dict)}


def headline(task: TaskPlugin, measured: Iterable[Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """The few metrics that are shown: those that the task names, else the first ones with an interval."""
    found = [name for metrics in measured for name, entry in metrics.items() if entry.get("low") is not None]
    names = [name for name in task.headline if name in found] or list(dict.fromkeys(found))
    return names[:MOST_METRICS]


def in_words(entry: Mapping[str, Any] | None) -> str:
    """Value, interval and sample count of a metric, in two short lines."""
    if entry is None or entry.get("value") is None:
        return ""
    value = f"{entry['value']:.3f}  n={entry['n']}"
    return value if entry["low"] is None else f"{value}\n[{entry['low']:.3f}, {entry['high']:.3f}]"
