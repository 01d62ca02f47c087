"""`tenyson logs`: show or follow the log of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli import options
from tenyson.core.run_folder import RunFolder
from tenyson.core.sanitize import safe
from tenyson.errors import TelemetryError

if TYPE_CHECKING:
    from tenyson.cli.runs.records import Record

LOOK_SECONDS = 0.2
SHOWN = 8
"""Numbers of a step that a line shows."""
LONGEST_TAIL = 8 << 20
"""Bytes from the end in which the last lines are looked for."""


@click.command()
@click.argument("run")
@options.db_url
@options.output_dir
@click.option("-f", "--follow", is_flag=True, help="Follow the log until the run ends, or Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    default=50,
    show_default=True,
    type=click.IntRange(min=0),
    help="Show this many of the last lines.",
)
def logs(run: str, db_url: str | None, output_dir: Path, follow: bool, lines: int) -> None:
    """Show the log of a run: its own messages and the output of libraries."""
    from tenyson.cli.runs.find import read_record

    record = read_record(run, db_url, output_dir)
    log = RunFolder(Path(record.folder)).log
    if not log.is_file():
        _notices(record, log)
        return
    try:
        for line in _tail(log, lines, follow):
            click.echo(readable(line))
    except KeyboardInterrupt:
        click.echo(f"the run keeps running; its log is {log}", err=True)


def readable(line: str) -> str:
    """A line for a person: marked events as the console says them, the rest without escape sequences."""
    from tenyson.telemetry.events.wire import decode

    event = decode(line)
    if event is None:
        return safe(line.rstrip("\n"))
    try:
        return _in_words(event)
    except (TypeError, ValueError, AttributeError):
        # Marked as ours, and written by somebody else.
        return safe(line.rstrip("\n"))


def _in_words(event: dict[str, Any]) -> str:
    match event:
        case {"event": "MetricsLogged", "step": step, "values": values}:
            of = f"/{event['total_steps']}" if event.get("total_steps") else ""
            numbers = "  ".join(f"{name} {float(value):.4g}" for name, value in list(values.items())[:SHOWN])
            more = f"  and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
            return f"step {step}{of}  {numbers}{more}"
        case {"event": "EpochEnded", "epoch": epoch, "step": step}:
            return f"epoch {epoch} ended at step {step}"
        case {"event": "Notice", "level": level, "message": message}:
            return safe(message if level == "info" else f"{level}: {message}")
        case {"event": "RunStarted", "run_id": run_id, "job_type": job, "task": task}:
            return safe(f"run {run_id}: {job} on task {task}")
        case {"event": "RunFinished", "run_id": run_id, "status": status}:
            return safe(f"run {run_id}: {status}")
    return safe(json.dumps(event))


def _tail(log: Path, lines: int, follow: bool) -> Iterator[str]:
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LONGEST_TAIL))
        last = file.read().decode("utf-8", "replace").splitlines()
        if size > LONGEST_TAIL and lines > len(last):
            click.echo(f"only the last {len(last)} lines, of 8 MiB; the whole log is {log}", err=True)
        elif size > LONGEST_TAIL or len(last) > lines:
            of = "" if size > LONGEST_TAIL else f" of {len(last)}"
            click.echo(f"the last {lines}{of} lines; -n N shows more, and all are in {log}", err=True)
        yield from last[-lines:] if lines else []
        rest = b""
        while follow:
            ended = _has_ended(log.parent)
            rest += file.read()
            *whole, rest = rest.split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")
            if ended and not whole:
                return
            time.sleep(LOOK_SECONDS)


def _has_ended(folder: Path) -> bool:
    """Whether the process that writes the log is gone, as its supervisor notes; else whether there is a result."""
    started, ended = RunFolder(folder).process, RunFolder(folder).exit_status
    if not started.exists():
        return RunFolder(folder).job_result.exists()
    try:
        return ended.stat().st_mtime >= started.stat().st_mtime
    except OSError:
        return False


def _notices(record: Record, log: Path) -> None:
    """What the database has heard, where there is no log on this machine."""
    from tenyson.telemetry.read.store import Store

    rows = []
    if record.db_url is not None:
        with Store(record.db_url) as store:
            rows = store.notices(record.run_id)
    if not rows:
        raise TelemetryError(
            "this run has no log on this machine, and no notices in the database",
            place=str(log),
            next_step="A job that was started by hand writes to its own terminal; `tenyson run` keeps a log.",
        )
    for row in rows:
        click.echo(safe(row["message"] if row["level"] == "info" else f"{row['level']}: {row['message']}"))
