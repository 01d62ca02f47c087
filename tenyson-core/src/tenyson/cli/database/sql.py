"""`tenyson sql`: query the telemetry database, read-only and with a time limit."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tenyson.cli import options
from tenyson.cli.terminal.format import print_json
from tenyson.cli.terminal.table import print_table
from tenyson.core.sanitize import safe

CELL = 60
"""Characters of a cell in a table; --full, --json and --csv show all."""


@click.command()
@click.argument("query", required=False)
@options.db_url
@options.output_dir
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Seconds that the query may take.",
)
@click.option(
    "--limit",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Print at most this many rows.",
)
@click.option("--full", is_flag=True, help="Print cells in full.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@options.as_json
@click.option("--tables", is_flag=True, help="List the tables and views instead.")
def sql(
    query: str | None,
    db_url: str | None,
    output_dir: Path,
    timeout: float,
    limit: int,
    full: bool,
    as_csv: bool,
    as_json: bool,
    tables: bool,
) -> None:
    """Run QUERY on the telemetry database, read-only ("-" reads the query from standard input)."""
    if tables:
        _print_tables()
        return
    if query is None or not query.strip():
        raise click.UsageError('give a query, such as "SELECT * FROM runs", or --tables')
    if query == "-":
        query = sys.stdin.read()
    from tenyson.cli.runs.databases import to_query
    from tenyson.telemetry.read.query import ask

    answer = ask(to_query(db_url, output_dir), query, timeout=timeout, limit=limit)
    names, rows = answer.names, answer.rows
    if as_json:
        keys = _different(names)
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows([_plain(cell) for cell in row] for row in rows)
    else:
        print_table(names, [[_cell(cell, full) for cell in row] for row in rows])
    if answer.more:
        click.echo(f"only the first {limit} rows are shown; --limit shows more", err=True)


def _different(names: Sequence[str]) -> list[str]:
    """Keys for columns, of which several may have one name: the second `id` is `id_2`, and a line on stderr tells."""
    keys: list[str] = []
    for name in names:
        key, number = name, 1
        while key in keys or (number > 1 and key in names):
            number += 1
            key = f"{name}_{number}"
        keys.append(key)
    renamed = [f"{name} is {key}" for name, key in zip(names, keys, strict=True) if name != key]
    if renamed:
        click.echo(safe(f"columns of the same name: {', '.join(renamed)}; AS gives them names"), err=True)
    return keys


def _plain(value: Any) -> Any:
    """As SQLite has it: JSON as text, truth values as 1 and 0."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else value


def _cell(value: Any, full: bool) -> str:
    value = _plain(value)
    text = safe(f"{value:.10g}" if isinstance(value, float) else str(value))
    text = text.replace("\n", "\\n")
    return text if full or len(text) <= CELL else text[: CELL - 1] + "…"


def _print_tables() -> None:
    from tenyson.telemetry.database.tables import metadata
    from tenyson.telemetry.database.views import COMMENTS

    rows = [(name, "view", comment) for name, comment in COMMENTS.items()]
    rows += [(table.name, "table", table.comment or "") for table in metadata.sorted_tables]
    print_table(("name", "kind", "a row is"), rows)
