"""What a person sees when a pipeline is over: the report, the numbers with their intervals, what to try next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenyson.pipeline.execute import Execution
from tenyson.pipeline.plan import Plan

MOST_COLUMNS = 5
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
    """Print the table of stages, the report's path and the next command."""
    result = execution.result
    measured = {label: read_metrics(one.local_output_dir) for label, one in result.results.items()}
    names = headline(
        {name for metrics in measured.values() for name, entry in metrics.items() if has_interval(entry)}
    )
    table = Table("stage", "status", *names, "n", box=None, pad_edge=False)
    for step in plan.steps:
        one = result.results.get(step.label)
        status = one.status if one else "not run"
        metrics = measured.get(step.label, {})
        counts = sorted(
            {entry["n"] for name, entry in metrics.items() if name in names and has_interval(entry)}
        )
        table.add_row(
            Text(step.label),
            Text(status, style=_COLOURS.get(status, "dim")),
            *(Text(in_words(metrics.get(name))) for name in names),
            Text(", ".join(map(str, counts))),
        )
    console.print()
    console.print(table)
    if names:
        console.print(Text("in brackets: 95% intervals", style="dim"))
    if execution.report:
        console.print(Text(f"report: {execution.report}"), soft_wrap=True)
    console.print(Text(f"next: {next_command}", style="bold"), soft_wrap=True)


def read_metrics(folder: str | None) -> dict[str, dict[str, Any]]:
    """`metrics` of a job folder's results.json; empty where there is none."""
    try:
        metrics = json.loads((Path(folder or "") / "results.json").read_text(encoding="utf-8"))["metrics"]
    except (OSError, ValueError, KeyError):
        return {}
    return {name: entry for name, entry in metrics.items() if isinstance(entry, dict)}


def headline(names: set[str]) -> list[str]:
    """The few metrics that fit on a line: rates first, wins before all others."""
    return sorted(names, key=lambda name: ("win" not in name, not name.endswith("rate"), name))[:MOST_COLUMNS]


def has_interval(entry: Mapping[str, Any]) -> bool:
    """Whether a metric was measured over samples, rather than being a plain number."""
    return entry.get("low") is not None and entry.get("high") is not None


def in_words(entry: Mapping[str, Any] | None) -> str:
    """Such as "0.412 [0.381, 0.444]"."""
    if entry is None or entry.get("value") is None:
        return "-"
    if not has_interval(entry):
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"
