"""`tenyson export`: what a run recorded, as a file for other tools."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tenyson.cli import options
from tenyson.errors import MissingDependencyError, TelemetryError
from tenyson.telemetry.jsontext import dumps

CHUNK = 2000
"""Rows that are in memory at once."""

Rows = Iterator[list[dict[str, Any]]]


@click.command()
@click.argument("run")
@options.db_url
@click.option(
    "--to", "form", type=click.Choice(["parquet", "jsonl", "csv"]), required=True, help="The file's form."
)
@click.option(
    "--what",
    type=click.Choice(["rollouts", "metrics"]),
    default="rollouts",
    show_default=True,
    help="What goes into it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File  [default: RUN-WHAT.FORM, here]",
)
def export(run: str, db_url: str | None, form: str, what: str, output: Path | None) -> None:
    """Write the rollouts or the metrics of a run to a file: texts whole, JSON columns as JSON text."""
    with options.open_store(db_url) as store:
        name = options.known_run(store, run)
        rows = store.rollout_chunks(name, CHUNK) if what == "rollouts" else store.metric_chunks(name, CHUNK)
        path = output or Path(f"{name}-{what}.{form}")
        draft = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            number = {"parquet": _parquet, "jsonl": _jsonl, "csv": _csv}[form](rows, draft)
            if number:
                draft.replace(path)
        except OSError as error:
            raise TelemetryError(f"cannot write the file: {error.strerror}", place=str(path)) from error
        finally:
            draft.unlink(missing_ok=True)
    if not number:
        raise TelemetryError(f"run {name} has no {what} to export")
    click.echo(f"{path}: {number} {what}")


def _jsonl(chunks: Rows, path: Path) -> int:
    number = 0
    with path.open("w", encoding="utf-8") as file:
        for rows in chunks:
            for row in rows:
                file.write(_json(row) + "\n")
            number += len(rows)
    return number


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return dumps(value)


def _csv(chunks: Rows, path: Path) -> int:
    number = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for rows in chunks:
            if not number:
                writer.writerow(rows[0])
            writer.writerows(_flat(row).values() for row in rows)
            number += len(rows)
    return number


def _parquet(chunks: Rows, path: Path) -> int:
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
                writer = pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(pyarrow.Table.from_pylist([_flat(row) for row in rows], schema=schema))
            number += len(rows)
    finally:
        if writer is not None:
            writer.close()
    return number


_WHOLE = frozenset({"id", "attempt", "step", "tokens"})
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
