"""The columns of `tenyson runs`: what the list shows of a run, what `--json` says of it, and by what it can be sorted.

A column that only shows a stored value is a field of `tenyson.telemetry.read.record`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenyson.cli.terminal.format import moment, number
from tenyson.core.duration import duration
from tenyson.telemetry.read.record import listed_fields

if TYPE_CHECKING:
    from tenyson.cli.runs.records import Record


@dataclass(frozen=True)
class Column:
    """One column."""

    title: str
    value: Callable[[Record], Any]
    """What it is, as `--json` gives it and as it is sorted."""
    show: Callable[[Any], str] = str
    """The value as the list shows it."""
    json: str | None = None
    """Name in `--json`; None where another column says it already."""
    sort: str | None = None
    """Name for `--sort`."""
    descending: bool = True
    """Whether sorting begins with the highest."""
    narrow: bool = True
    """Whether the list has it without `--wide`."""
    wide: bool = True
    """Whether the list has it with `--wide`."""


def _numbers(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {number(value)}" for name, value in metrics.items())


def _known(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _listed(name: str) -> Callable[[Record], Any]:
    return lambda record: record.listed.get(name)


COLUMNS = (
    Column("run", lambda r: r.run_id, json="run_id", sort="name", descending=False),
    Column("job", lambda r: r.job, json="job"),
    Column("task", lambda r: r.task, json="task"),
    Column("status", lambda r: r.status, json="status", sort="status", descending=False),
    Column("started", lambda r: r.started, lambda t: moment(t, exact=False), json="started", sort="started"),
    Column("took", lambda r: r.seconds, duration, json="seconds", sort="took"),
    Column("result", lambda r: r.key_metric, wide=False),
    Column("attempt", lambda r: r.attempt, json="attempt", narrow=False),
    Column("folder", lambda r: r.folder, json="folder", narrow=False),
    *(
        Column(title, _listed(name), _known, json=name, sort=title, narrow=False)
        for name, title in listed_fields().items()
    ),
    Column("results", lambda r: r.metrics, _numbers, json="metrics", narrow=False),
)
"""From left to right. A further one that a database has is a field of `RunRecord` by `listed`."""

SORTED = {
    column.sort: column
    for column in sorted(COLUMNS, key=lambda one: not one.descending)
    if column.sort is not None
}
"""Columns by their name for `--sort`, times and numbers first."""


def table(records: list[Record], *, wide: bool) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Titles and rows of the list."""
    shown = [column for column in COLUMNS if (column.wide if wide else column.narrow)]
    rows = [tuple(column.show(column.value(record)) for column in shown) for record in records]
    return tuple(column.title for column in shown), rows


def summary(record: Record) -> dict[str, Any]:
    """What `--json` says of one run."""
    return {column.json: column.value(record) for column in COLUMNS if column.json is not None}
