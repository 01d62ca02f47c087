"""`tenyson runs`: list runs and their results."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Callable
from fnmatch import fnmatch
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli import options
from tenyson.cli.runs.columns import SORTED, summary, table
from tenyson.cli.terminal.format import print_json
from tenyson.cli.terminal.left_out import known_names, say_cut, some
from tenyson.cli.terminal.names import JobKindName
from tenyson.cli.terminal.table import print_table
from tenyson.core.sanitize import safe

if TYPE_CHECKING:
    from tenyson.cli.runs.records import Record

STATUSES = ("running", "lost", "success", "stopped", "failed", "unfinished")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_COMPARISONS = {
    "<=": operator.le, ">=": operator.ge, "!=": operator.ne, "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip


@click.command()
@options.db_url
@options.output_dir
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Show at most this many."
)
@click.option(
    "--status", help="Show only runs with this status: running, lost, success, stopped, failed, unfinished."
)
@click.option("--job", type=JobKindName(), help="Show only this kind of job.")
@click.option("--task", help="Show only runs on this task.")
@click.option("--name", metavar="GLOB", help="Show only runs whose name matches, such as 'rl-*'.")
@click.option(
    "--since", metavar="TIME", help="Show only runs started within this time, such as 90m, 12h or 2d."
)
@click.option(
    "--where", multiple=True, metavar="METRIC>N", help="Show only runs with such a result. Repeatable."
)
@click.option(
    "--sort",
    default="started",
    show_default=True,
    help="Sort by started, took, name, status, or a metric of the result.",
)
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.option("--wide", is_flag=True, help="Show more columns: folder, attempts, all metrics of the result.")
@options.as_json
def runs(
    db_url: str | None,
    output_dir: Path,
    limit: int,
    status: str | None,
    job: str | None,
    task: str | None,
    name: str | None,
    since: str | None,
    where: tuple[str, ...],
    sort: str,
    reverse: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """List the runs of the telemetry database and of the job folders, newest first."""
    from tenyson.cli.runs.databases import say_if_other
    from tenyson.cli.runs.records import read_records

    wheres = [_metric_test(text) for text in where]
    tests: list[Callable[[Record], bool]] = [test for _, test in wheres]
    if status is not None:
        if status not in STATUSES:
            raise click.BadParameter(
                f"{status!r} is no status: {known_names(status, STATUSES)}", param_hint="--status"
            )
        tests.append(lambda record: record.status == status)
    if job is not None:
        tests.append(lambda record: record.job == job)
    if task is not None:
        tests.append(lambda record: record.task == task)
    if name is not None:
        tests.append(lambda record: fnmatch(record.run_id, name))
    if since is not None:
        earliest = time.time() - _seconds(since)
        tests.append(lambda record: (record.started or 0.0) >= earliest)
    in_order = sort == "started" and not reverse
    listing = read_records(db_url, output_dir, limit=limit if in_order and not tests else None)
    _require_metrics([metric for metric, _ in wheres], listing.records)
    found = [record for record in listing.records if all(test(record) for test in tests)]
    if not in_order:
        # Of all runs: a misspelt name is told also where the filters leave none.
        found = _sorted(found, sort, reverse, listing.records)
    _show(found[:limit], filtered=bool(tests), wide=wide, as_json=as_json, output_dir=output_dir)
    if not found:
        _say_what_there_is(listing.records, task, name, bool(where))
    known = len(found) if tests or not in_order else listing.known
    say_cut(min(limit, len(found)), known, "runs", f"--limit {known} shows all")
    for url in listing.databases:
        say_if_other(url, db_url)


def _show(found: list[Record], *, filtered: bool, wide: bool, as_json: bool, output_dir: Path) -> None:
    if as_json:
        print_json([summary(record) for record in found])
    elif not found and filtered:
        click.echo("no run matches; `tenyson runs` lists them all")
    elif not found:
        click.echo(
            f"no runs here: no telemetry database knows one, and there is no job folder in {output_dir}"
        )
        click.echo("start one with `tenyson run --task TASK`; `tenyson plugins` lists the tasks")
    else:
        print_table(*table(found, wide=wide))


def _require_metrics(metrics: list[str], records: list[Record]) -> None:
    """Raises: click.BadParameter: no run at all has such a number, though some have others."""
    known = {name for record in records for name in record.metrics}
    for metric in metrics:
        if known and metric not in known:
            raise click.BadParameter(
                safe(f"no run has a {metric!r}: {known_names(metric, known)}"), param_hint="--where"
            )


def _say_what_there_is(records: list[Record], task: str | None, name: str | None, compared: bool) -> None:
    if compared and records and not any(record.metrics for record in records):
        click.echo("no run has a number in its result to compare", err=True)
    tasks = {record.task for record in records}
    if task is not None and task not in tasks and tasks:
        click.echo(safe(f"no run is on task {task!r}: {known_names(task, tasks)}"), err=True)
    names = [record.run_id for record in records]
    if name is not None and names and not any(fnmatch(one, name) for one in names):
        click.echo(safe(f"no run is called {name!r}: {known_names(name, names)}"), err=True)


def _sorted(found: list[Record], by: str, reverse: bool, every: list[Record]) -> list[Record]:
    column = SORTED.get(by)
    key = column.value if column else None
    if key is None:
        names = {name for record in every for name in record.metrics}
        if by not in names:
            from tenyson.config.explain import did_you_mean

            hint = did_you_mean(by, [*SORTED, *names])
            known_are = f"known are {some([*SORTED, *sorted(names)])}"
            raise click.BadParameter(
                safe("; ".join(filter(None, (f"no run has a {by!r}", hint, known_are)))), param_hint="--sort"
            )

        def key(record: Record) -> Any:
            value = record.metrics.get(by)
            # Compared with anything, "not a number" is neither more nor less, and would leave the rest unsorted.
            return None if value is None or isnan(value) else value

    known = [record for record in found if key(record) is not None]
    unknown = [record for record in found if key(record) is None]
    descending = column is None or column.descending
    return sorted(known, key=key, reverse=descending != reverse) + unknown


def _metric_test(text: str) -> tuple[str, Callable[[Record], bool]]:
    """The metric of a comparison, and the comparison."""
    match = re.fullmatch(r"\s*([^<>=!\s]+)\s*(<=|>=|!=|=|<|>)\s*(\S+)\s*", text)
    try:
        if match is None or isnan(float(match[3])):
            raise ValueError
        metric, compare, bound = match[1], _COMPARISONS[match[2]], float(match[3])
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no comparison such as win_rate>0.5", param_hint="--where"
        ) from None
    return metric, lambda record: metric in record.metrics and bool(compare(record.metrics[metric], bound))


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no time such as 90m, 12h or 2d", param_hint="--since")
    return float(match[1]) * _UNITS[match[2]]
