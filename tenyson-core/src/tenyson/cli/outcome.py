"""What a person sees when a pipeline is over: the report, the numbers with their intervals, what to try next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenyson.cloud.follow import seconds_in_words
from tenyson.pipeline.execute import Execution
from tenyson.pipeline.plan import Plan

MOST_METRICS = 5
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


def print_outcome(plan: Plan, execution: Execution, next_command: str, console: Console) -> None:
    """Print the stages with what was measured, the report's path and the next command."""
    result = execution.result
    table = Table("stage", "status", "time", "metric", "value", "95% interval", "n", box=None, pad_edge=False)
    for step in plan.steps:
        one = result.results.get(step.label)
        status = one.status if one else "not run"
        took = seconds_in_words(one.total_time_seconds) if one else ""
        head = [Text(step.label), Text(status, style=_COLOURS.get(status, "dim")), Text(took)]
        metrics = read_metrics(one.local_output_dir) if one and step.job == "eval" else {}
        rows = [in_words(name, metrics[name]) for name in headline(metrics)] or [("", "", "", "")]
        for row in rows:
            table.add_row(*head, *map(Text, row))
            head = [Text("")] * 3
    console.print()
    console.print(table)
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


def headline(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The few metrics that are shown: measured over samples, wins and other rates before the rest."""
    measured = [name for name, entry in metrics.items() if entry.get("low") is not None]
    return sorted(measured, key=lambda name: ("win" not in name, not name.endswith("rate"), name))[
        :MOST_METRICS
    ]


def in_words(name: str, entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Name, value, interval and sample count of a metric."""
    interval = f"[{entry['low']:.3f}, {entry['high']:.3f}]"
    return name.replace("_", " "), f"{entry['value']:.3f}", interval, str(entry["n"])
