"""`tenyson show`: everything about one run, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli import options
from tenyson.cli.runs.logs import readable
from tenyson.cli.runs.next_command import next_command
from tenyson.cli.terminal.format import moment, print_json, wrapped
from tenyson.cli.terminal.table import print_table
from tenyson.core.duration import duration
from tenyson.core.files.log_tail import log_tail
from tenyson.core.run_folder import (
    ADAPTER,
    CHECKPOINTS,
    CONFIG,
    EVENTS,
    JOB_RESULT,
    LOG,
    MODEL,
    RESULTS,
    RunFolder,
)
from tenyson.core.sanitize import safe
from tenyson.telemetry.events.git import code_in_words

if TYPE_CHECKING:
    from tenyson.cli.runs.history import History
    from tenyson.cli.runs.records import Record

LOG_LINES = 10
"""Lines of the log that are shown of a run that failed."""


@click.command()
@click.argument("run")
@options.db_url
@options.output_dir
@options.as_json
def show(run: str, db_url: str | None, output_dir: Path, as_json: bool) -> None:
    """Show one run: configuration, attempts, metrics, files, and what to do next."""
    from tenyson.cli.runs.databases import shown, without_password
    from tenyson.cli.runs.find import read_record
    from tenyson.cli.runs.history import read_history
    from tenyson.cli.runs.ownership import taken_by_another, unlike_the_journal
    from tenyson.cli.runs.records import damage

    record = read_record(run, db_url, output_dir)
    history = read_history(record)
    taken = taken_by_another(record)
    if taken is not None:
        # What lies there now is somebody else's: neither its numbers nor its files are this run's.
        record = replace(record, results={}, folder="")
    else:
        taken = unlike_the_journal(record, db_url)
    following = next_command(record, db_url, output_dir)
    if as_json:
        url = record.db_url and without_password(record.db_url)
        about = {"db_url": url, "files": _files(record), "next": following, "folder_taken": taken}
        print_json({**asdict(record), **asdict(history), **about})
        return
    lines = [
        ("run", record.run_id),
        ("status", f"{record.status}{_reason(record)}"),
        ("job", f"{record.job} on task {record.task}"),
        ("started", f"{moment(record.started)}, took {duration(record.seconds) or '?'}"),
        *_config_lines(record.config, record.job),
        (
            "recorded in",
            shown(record.db_url) if record.db_url else f"{record.folder} only, and in no database",
        ),
    ]
    pad = max(24, *(len(name) for name, _ in lines))
    for name, value in lines:
        _say(wrapped(f"{name:<{pad}} {value}", pad + 1))
    _show_history(history, pad)
    if rows := _metric_rows(record):
        click.echo()
        print_table(("metric", "value", "95% interval", "n"), rows)
    damaged = damage(record.folder) if record.folder else []
    for line in [*([taken] if taken else []), *damaged, *_trouble(record, history)]:
        click.secho(wrapped(safe(line), 2), fg="yellow")
    if files := _files(record):
        click.echo()
        for path in files:
            _say(path)
    if record.status in ("failed", "lost", "unfinished") and (tail := _log_tail(record)):
        click.echo("\nlast lines of the log:")
        for line in tail:
            _say(f"  {line}")
    if following:
        _say(f"\nnext: {following}")


def _say(text: str) -> None:
    """Print what was recorded, and may hold what a library or a model wrote."""
    click.echo(safe(text))


def _show_history(history: History, pad: int) -> None:
    for made_from in history.lineage:
        source = f" (run {made_from['source_run_id']})" if made_from["source_run_id"] else ""
        _say(f"{'from ' + made_from['kind']:<{pad}} {made_from['reference']}{source}")
    for attempt in history.attempts:
        code = f", {code_in_words(attempt['git_commit'], attempt['git_diff_hash'])}"
        where = ", ".join(part for part in (attempt["host"], attempt["accelerator"]) if part)
        began = f", from step {attempt['began_at_step']}" if attempt["began_at_step"] else ""
        end = attempt["exit_reason"] or attempt["status"]
        told = (
            f"{'attempt ' + str(attempt['attempt']):<{pad}} {moment(attempt['started_at'])}{began}: {end}"
            f"{f'; on {where}' if where else ''}{code}"
        )
        _say(wrapped(told, pad + 1))
    for request in history.requests:
        at = f" at step {request['applied_step']}" if request["applied_step"] is not None else ""
        why = f": {request['reason']}" if request["reason"] else ""
        who = f", asked by {request['requested_by']}" if request["requested_by"] else ""
        _say(f"{'request ' + (request['verb'] or 'stop'):<{pad}} {request['status']}{at}{why}{who}")


def _trouble(record: Record, history: History) -> list[str]:
    """What was not recorded, and what still waits."""
    muted = _metadata(record).get("muted_sinks") or {}
    lost = _metadata(record).get("lost_events") or {}
    lines = [
        f"telemetry sink {sink} was off: {why}" + (f" ({lost[sink]} events lost)" if lost.get(sink) else "")
        for sink, why in muted.items()
    ]
    lines += [
        f"telemetry sink {row['sink']} did not record {row['events']} events: {row['reason']}"
        for row in history.losses
        if row["sink"] not in muted
    ]
    if history.waiting_spools:
        lines.append(
            f"events wait in {RunFolder(Path(record.folder)).spool}: store them with `tenyson telemetry recover {record.folder}`"
        )
    return lines


def _reason(record: Record) -> str:
    reason = (record.result or {}).get("failure_reason")
    if reason:
        return f": {reason}"
    if _metadata(record).get("stopped_early"):
        return f", stopped early ({_metadata(record).get('stop_reason') or 'by the trainer'})"
    if record.status == "lost":
        return ": no heartbeat for 60 s, so it was killed, or its machine is unreachable"
    if record.status == "unfinished":
        return " (or it was killed: no exit status was recorded)"
    return ""


def _metadata(record: Record) -> dict[str, Any]:
    metadata: dict[str, Any] = record.results.get("metadata") or {}
    return metadata


_ASKED = {
    "model": ("name", "factory", "adapter"),
    "run": ("seed",),
    "training": ("learning_rate", "max_steps", "epochs", "batch_size"),
    "evaluation": ("split", "samples", "samples_per_prompt"),
    "generation": ("engine", "temperature", "max_new_tokens"),
    "endpoint": ("url",),
}


def _config_lines(config: Any, job: str) -> list[tuple[str, Any]]:
    """What was asked of this kind of job. Of a training by steps, the epochs say nothing."""
    from tenyson.plugins.job_kinds import recorded_kind

    lines = []
    for section in filter(recorded_kind(job).reads, _ASKED):
        values = config.get(section) or {}
        for name in _ASKED[section]:
            if values.get(name) is not None and not (name == "epochs" and values.get("max_steps")):
                lines.append((f"{section}.{name}", values[name]))
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
    from tenyson.cli.runs.databases import is_there

    if not record.folder:
        return []
    names = (CONFIG, RESULTS, JOB_RESULT, LOG, EVENTS, CHECKPOINTS, ADAPTER, MODEL)
    return [str(path) for name in names if is_there(path := Path(record.folder) / name)]


def _log_tail(record: Record) -> list[str]:
    if not record.folder:
        return []
    lines = log_tail(RunFolder(Path(record.folder)).log, 64_000).splitlines()
    return [line for line in map(readable, lines) if line][-LOG_LINES:]
