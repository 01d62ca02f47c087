"""`tenyson runs`, `tenyson show` and `tenyson stop`: what ran, how it went, and ending what runs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli.table import print_table

if TYPE_CHECKING:
    from tenyson.cli.records import Record

LOG_LINES = 10
"""Lines of the log that are shown of a run that failed."""

_db_url = click.option(
    "--db-url",
    help="Telemetry database  [default: $TENYSON_DB_URL, or ./tenyson_telemetry.db if it is there]",
)
_output_dir = click.option(
    "--output-dir",
    default="./outputs",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the job folders.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_db_url
@_output_dir
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Show at most this many."
)
@_as_json
def runs(db_url: str | None, output_dir: Path, limit: int, as_json: bool) -> None:
    """List the runs of the telemetry database and of the job folders, newest first."""
    from tenyson.cli.records import read_records

    found = read_records(db_url, output_dir, limit=limit)
    if as_json:
        _print_json([_summary(record) for record in found])
    elif not found:
        click.echo(
            f"no runs here: no telemetry database knows one, and there is no job folder in {output_dir}"
        )
        click.echo("start one with `tenyson run --task TASK`; `tenyson plugins` lists the tasks")
    else:
        rows = [
            (r.run_id, r.job, r.task, r.status, _moment(r.started), _duration(r.seconds), r.key_metric)
            for r in found
        ]
        print_table(("run", "job", "task", "status", "started", "took", "result"), rows)


@click.command()
@click.argument("run")
@_db_url
@_output_dir
@_as_json
def show(run: str, db_url: str | None, output_dir: Path, as_json: bool) -> None:
    """Show one run: configuration, metrics, where its files are, and what to do next."""
    from tenyson.cli.records import read_record

    record = read_record(run, db_url, output_dir)
    if as_json:
        _print_json({**asdict(record), "files": _files(record), "next": _next_command(record)})
        return
    about = [
        ("run", record.run_id),
        ("status", f"{record.status}{_reason(record)}"),
        ("job", f"{record.job} on task {record.task}"),
        ("started", f"{_moment(record.started)}, took {_duration(record.seconds) or '?'}"),
        *_config_lines(record.config),
    ]
    for name, value in about:
        click.echo(f"{name:<24} {value}")
    if rows := _metric_rows(record):
        click.echo()
        print_table(("metric", "value", "95% interval", "n"), rows)
    for sink, why in (_metadata(record).get("muted_sinks") or {}).items():
        click.echo(f"telemetry sink {sink} was off: {why}")
    if files := _files(record):
        click.echo()
        for path in files:
            click.echo(path)
    if record.status == "failed" and (lines := _log_tail(record)):
        click.echo("\nlast lines of the log:")
        for line in lines:
            click.echo(f"  {line}")
    if command := _next_command(record):
        click.echo(f"\nnext: {command}")


@click.command()
@click.argument("run")
@_db_url
def stop(run: str, db_url: str | None) -> None:
    """Ask a run to stop after its current step or batch; it saves as usual."""
    from tenyson.core.control import describe
    from tenyson.telemetry.control import request_stop
    from tenyson.telemetry.store import DB_URL_VARIABLE, DEFAULT_DB_URL

    click.echo(describe(request_stop(db_url or os.environ.get(DB_URL_VARIABLE) or DEFAULT_DB_URL, run)))


def _summary(record: Record) -> dict[str, Any]:
    return {
        name: getattr(record, name)
        for name in ("run_id", "job", "task", "status", "started", "seconds", "metrics", "folder")
    }


def _reason(record: Record) -> str:
    reason = (record.result or {}).get("failure_reason")
    if reason:
        return f": {reason}"
    if _metadata(record).get("stopped_early"):
        return f", stopped early ({_metadata(record).get('stop_reason') or 'by the trainer'})"
    if record.status in ("running", "unfinished"):
        return " (or it was killed: nobody has written its end)"
    return ""


def _metadata(record: Record) -> dict[str, Any]:
    metadata: dict[str, Any] = record.results.get("metadata") or {}
    return metadata


def _config_lines(config: Any) -> list[tuple[str, Any]]:
    keys = ("model.name", "model.factory", "model.adapter", "run.seed", "training.learning_rate",
            "training.max_steps", "training.epochs", "training.batch_size", "generation.engine")  # fmt: skip
    lines = []
    for key in keys:
        section, _, name = key.partition(".")
        value = (config.get(section) or {}).get(name)
        if value is not None:
            lines.append((key, value))
    return lines


def _metric_rows(record: Record) -> list[Sequence[str]]:
    detailed = record.results.get("metrics") or {
        name: {"value": value} for name, value in record.metrics.items()
    }
    rows: list[Sequence[str]] = []
    for name, metric in detailed.items():
        value, low, high, n = (metric.get(part) for part in ("value", "low", "high", "n"))
        interval = "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
        rows.append((name, "" if value is None else f"{value:.4g}", interval, "" if n is None else str(n)))
    return rows


def _files(record: Record) -> list[str]:
    names = ("config.yaml", "results.json", "job_result.json", "log.txt", "events.jsonl", "checkpoints", "adapter",
             "model")  # fmt: skip
    return [str(path) for name in names if (path := Path(record.folder) / name).exists()]


def _log_tail(record: Record) -> list[str]:
    try:
        with (Path(record.folder) / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 64_000))
            return log.read().decode("utf-8", "replace").splitlines()[-LOG_LINES:]
    except OSError:
        return []


def _next_command(record: Record) -> str | None:
    if record.status == "running":
        return f"tenyson stop {record.run_id}"
    if record.status == "success":
        if record.job in ("sft", "rl") and (Path(record.folder) / "adapter").exists():
            return f"tenyson run --job eval --task {record.task} --set model.adapter={record.run_id}"
        return None
    resume = (
        " --resume-from-checkpoint latest"
        if (Path(record.folder) / "checkpoints" / "LATEST").exists()
        else ""
    )
    job = f" --job {record.job}" if record.job else ""
    return f"tenyson run{job} --config {Path(record.folder) / 'config.yaml'} --run-id {record.run_id}{resume}"


def _moment(seconds: float | None) -> str:
    return (
        "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))
