"""A table on stdout: aligned columns, never cut off, so that `grep` and `cut` work on it too."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tenyson.cli.safetext import safe


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header; column widths follow their contents. What a terminal would obey is taken out."""
    header, *rows = ([safe(cell).replace("\n", "\\n") for cell in row] for row in (header, *rows))
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    click.secho(_line(header, widths), bold=True)
    for row in rows:
        click.echo(_line(row, widths))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
