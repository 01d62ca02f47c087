"""What a person sees when a pipeline is over: the report, the numbers with their intervals, what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from tenyson.cli.terminal.table import print_table, reading_width
from tenyson.core.duration import duration
from tenyson.core.run_folder import RunFolder
from tenyson.errors import TenysonError
from tenyson.jobs.data.results_file import read_results
from tenyson.plugins.job_kinds import recorded_kind
from tenyson.telemetry.control import MANUAL_STOP

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.result import PipelineResult

MOST_METRICS = 3
_COLOURS = {"success": "green", "reused": "green", "stopped": "yellow", "failed": "red"}


def outcome_data(journal: Journal, result: PipelineResult, attach: str) -> dict[str, Any]:
    """The outcome as JSON-safe data."""
    pipeline_id = result.pipeline_id
    record = journal.pipeline(pipeline_id)
    reused = {one.label: one.reused_from for one in journal.attempts(pipeline_id)}
    measured = _measured(journal, pipeline_id)
    return {
        "pipeline": pipeline_id,
        "title": record.title if record else pipeline_id,
        "status": result.status,
        "total_time_seconds": result.total_time_seconds,
        "report": str(result.report) if result.report else None,
        "resume": None if result.status == "success" else _resume(attach, result.status),
        "steps": [
            {
                "label": label,
                "reused_from": reused.get(label),
                "intervals": measured.get(label, {}),
                "result": vars(one),
            }
            for label, one in result.results.items()
        ],
    }


def print_outcome(journal: Journal, result: PipelineResult, attach: str, console: Console) -> None:
    """Print the stages with what was measured, the report's path and the next command."""
    from tenyson.pipeline.journal.rows import definition_of

    pipeline_id = result.pipeline_id
    record = journal.pipeline(pipeline_id)
    reused = {one.label for one in journal.attempts(pipeline_id) if one.reused_from}
    steps = journal.steps(pipeline_id)
    all_measured = _measured(journal, pipeline_id)
    measured = {
        step.label: all_measured.get(step.label, {})
        for step in steps
        if not recorded_kind(definition_of(step).spec.job_type).trains and step.label in result.results
    }
    columns = headline([definition_of(step).spec.task for step in steps], measured.values())
    rows = []
    for step in steps:
        one = result.results.get(step.label)
        status = "reused" if step.label in reused else one.status if one else "not run"
        told = f"{status} ({MANUAL_STOP})" if one and one.stop_reason == MANUAL_STOP else status
        cells = [in_words(measured.get(step.label, {}).get(name)) for name in columns]
        took = duration(one.total_time_seconds) if one else ""
        rows.append((step.label, told, took, *cells))
    click.echo()
    header = ("stage", "status", "time", *(name.replace("_", " ") for name in columns))
    print_table(header, rows, paint=_paint, lines=True, width=reading_width())
    if columns:
        console.print(Text("values with their 95% intervals", style="dim"))
    if result.report:
        console.print(Text(f"report: {result.report}"), soft_wrap=True)
        console.print(Text(f"        {result.report.with_suffix('.html')}"), soft_wrap=True)
    following = record.request.next_command if record else ""
    if result.status != "success":
        following = _resume(attach, result.status)
    elif not following and result.results:
        # For a reused step, the run whose result it reuses.
        following = shlex.join(["tenyson", "show", list(result.results.values())[-1].run_id])
    if following:
        console.print(Text(f"next:   {following}", style="bold"), soft_wrap=True)


def _measured(journal: Journal, pipeline_id: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Each step's metrics from its latest attempt's own folder."""
    from tenyson.pipeline.cache.identity import own_result

    latest = {one.label: own_result(one) for one in journal.attempts(pipeline_id)}
    return {label: read_metrics(one.local_output_dir if one else None) for label, one in latest.items()}


def _paint(column: int, text: str) -> str:
    """Colour the status."""
    return (
        click.style(text, fg=_COLOURS.get(text.split(" ")[0], "bright_black"))
        if column == 1 and text
        else text
    )


def read_metrics(folder: str | None) -> dict[str, dict[str, Any]]:
    """`metrics` of a job folder's results.json; empty where there is none."""
    try:
        metrics: dict[str, dict[str, Any]] = read_results(RunFolder(Path(folder or "")).results).get(
            "metrics", {}
        )
    except TenysonError:
        return {}
    return metrics


def headline(tasks: Iterable[str], measured: Collection[Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """The few metrics that are shown: those that the first task names, else the first ones with an interval."""
    from tenyson.tasks.load import load_task_class

    found = [name for metrics in measured for name, entry in metrics.items() if entry.get("low") is not None]
    try:
        first: Iterable[str] = load_task_class(next(iter(tasks))).headline
    except (TenysonError, StopIteration):
        first = ()
    measured_at_all = {
        name for metrics in measured for name, entry in metrics.items() if entry.get("value") is not None
    }
    names = [name for name in first if name in measured_at_all] or list(dict.fromkeys(found))
    return names[:MOST_METRICS]


def in_words(entry: Mapping[str, Any] | None) -> str:
    """Value, interval and sample count of a metric, in two short lines."""
    if entry is None or entry.get("value") is None:
        return ""
    value = f"{entry['value']:.3f}  n={entry['n']}"
    return value if entry["low"] is None else f"{value}\n[{entry['low']:.3f}, {entry['high']:.3f}]"


def _resume(attach: str, status: str) -> str:
    return attach if status == "stopped" else f"{attach} --again"
