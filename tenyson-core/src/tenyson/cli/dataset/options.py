"""Options that say how a data file is read, shared by `tenyson data`, `train`, `rl` and `eval`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

FORMATS = ("messages", "sharegpt", "alpaca", "completion", "answer", "preference")


def reading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--format, --column, --system, --filter, --split, --subset and --revision."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS = (
    click.option(
        "--format",
        "row_format",
        type=click.Choice(FORMATS),
        help="How rows are read  [default: recognised by the columns]",
    ),
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="FIELD=COLUMN",
        help="A field by its column or a Jinja template, such as prompt=question or answer='{{ a | trim }}'. Repeatable.",
    ),
    click.option("--system", metavar="TEXT", help="A system message for rows without one."),
    click.option(
        "--filter",
        "expression",
        metavar="EXPRESSION",
        help="Keep rows for which this is true, such as 'level > 3'.",
    ),
    click.option("--split", help="Data set of the Hub: its split  [default: train]"),
    click.option("--subset", help="Data set of the Hub: its configuration, such as main."),
    click.option("--revision", help="Data set of the Hub: branch, tag or commit."),
)


def reading_arguments(data: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """`task.args` of the options above, which are taken out of `options`. Raises: click.UsageError."""
    columns = dict(_column(one) for one in options.pop("columns"))
    source = {
        "split": options.pop("split"),
        "subset": options.pop("subset"),
        "revision": options.pop("revision"),
        "filter": options.pop("expression"),
    }
    own = {key: value for key, value in source.items() if value is not None}
    sources = [{"path": one, **own} if own else one for one in data]
    found = {
        "data": sources[0] if len(sources) == 1 else sources,
        "format": options.pop("row_format"),
        "columns": columns or None,
        "system": options.pop("system"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _column(text: str) -> tuple[str, str]:
    field, equals, where = text.partition("=")
    if not equals or not field or not where:
        raise click.UsageError(f"--column {text}: write FIELD=COLUMN, such as prompt=question")
    return field.strip(), where
