"""`tenyson export`: what a run recorded, as a file for other tools."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from tenyson.cli import options
from tenyson.core.destination import is_stdout, open_destination
from tenyson.errors import MissingDependencyError, TelemetryError
from tenyson.telemetry.events.json_text import dumps

CHUNK = 2000
"""Rows that are in memory at once."""

Rows = Iterator[list[dict[str, Any]]]


@click.command()
@click.argument("run")
@options.db_url
@options.output_dir
@click.option(
    "--to", "form", type=click.Choice(["parquet", "jsonl", "csv"]), required=True, help="Format of the file."
)
@click.option(
    "--what",
    type=click.Choice(["rollouts", "metrics"]),
    default="rollouts",
    show_default=True,
    help="What to export.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE|-",
    help="File, or - for standard output  [default: RUN-WHAT.FORMAT, here]",
)
def export(run: str, db_url: str | None, output_dir: Path, form: str, what: str, output: str | None) -> None:
    """Write the rollouts or the metrics of a run to a file: texts in full, JSON columns as JSON text."""
    from tenyson.cli.runs.find import open_run

    with open_run(run, db_url, output_dir) as (store, name):
        rows = store.rollout_chunks(name, CHUNK) if what == "rollouts" else store.metric_chunks(name, CHUNK)
        first = next(rows, None)
        if not first:
            raise TelemetryError(f"run {name} has no {what} to export")
        path = f"{name}-{what}.{form}" if output is None else options.with_home(output)
        write = {"parquet": _parquet, "jsonl": _jsonl, "csv": _csv}[form]
        with open_destination(path) as file:
            number = write(itertools.chain([first], rows), file)
    click.echo(f"{path}: {number} {what}", err=is_stdout(path))


def _jsonl(chunks: Rows, file: IO[bytes]) -> int:
    number = 0
    for rows in chunks:
        for row in rows:
            file.write(_line(row))
        number += len(rows)
    return number


def _line(row: dict[str, Any]) -> bytes:
    try:
        return (_json(row) + "\n").encode()
    except UnicodeEncodeError:
        # Half of a pair, as a model may write it: JSON can escape what UTF-8 cannot hold.
        return (dumps(row) + "\n").encode("ascii", "backslashreplace")


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return dumps(value)


def _csv(chunks: Rows, file: IO[bytes]) -> int:
    number = 0
    text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    writer = csv.writer(text)
    for rows in chunks:
        if not number:
            writer.writerow(rows[0])
        writer.writerows(_flat(row).values() for row in rows)
        number += len(rows)
    text.detach()
    return number


def _parquet(chunks: Rows, file: IO[bytes]) -> int:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "pyarrow", needed_for="export to Parquet", install="tenyson-core[parquet]"
        ) from error
    number, writer = 0, None
    try:
        for rows in chunks:
            if writer is None:
                schema = pyarrow.schema([(name, _arrow_type(pyarrow, name)) for name in rows[0]])
                writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
            writer.write_table(pyarrow.Table.from_pylist([_flat(row) for row in rows], schema=schema))
            number += len(rows)
    finally:
        if writer is not None:
            writer.close()
    return number


_WHOLE = frozenset({"id", "attempt", "step", "tokens", "tool_calls", "tool_calls_refused"})
_NUMBERS = frozenset({"reward", "advantage", "epoch", "value", "created_at"})
_FLAGS = frozenset({"training", "trained", "truncated"})


def _arrow_type(pyarrow: Any, name: str) -> Any:
    if name in _WHOLE:
        return pyarrow.int64()
    if name in _NUMBERS:
        return pyarrow.float64()
    return pyarrow.bool_() if name in _FLAGS else pyarrow.string()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _json(value) if isinstance(value, (dict, list)) else value for name, value in row.items()}
