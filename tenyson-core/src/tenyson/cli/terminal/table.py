"""A table on stdout, never cut off: aligned columns, or, where they are wider than the terminal, a block for each row."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence

import click

from tenyson.core.sanitize import safe
from tenyson.core.stdio import is_terminal

GAP = "  "
INDENT = "    "

Paint = Callable[[int, str], str]
"""Colours the text of a cell, given the number of its column and the text as it is padded."""


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    paint: Paint = lambda _, text: text,
    lines: bool = False,
) -> None:
    """Print rows under a header; what a terminal would obey is taken out.

    Without a terminal each row is one line, for `grep` and `cut`. On one a table that is too wide is printed as blocks, with the
    first column in full on a line of its own. `width` asks for that without a terminal, too; with `lines` a cell may have several,
    else their ends are escaped.
    """
    if width is None and is_terminal(sys.stdout):
        width = reading_width()
    cells = [[safe(cell) if lines else safe(cell).replace("\n", "\\n") for cell in row] for row in rows]
    header = [safe(name).replace("\n", "\\n") for name in header]
    if width is not None and _width(header, cells) > width:
        blocks = _blocks(header, cells, width, paint)
        click.echo("\n".join(blocks))
        return
    widths = [max(map(_wide, column)) for column in zip(header, *cells, strict=True)]
    click.secho(_line(header, widths), bold=True)
    for row in cells:
        parts = [cell.split("\n") for cell in row]
        for number in range(max(map(len, parts))):
            texts = [part[number] if number < len(part) else "" for part in parts]
            padded = [text.ljust(width) for text, width in zip(texts, widths, strict=True)]
            click.echo(GAP.join(paint(column, text) for column, text in enumerate(padded)).rstrip())


NARROWEST = 20


def reading_width() -> int:
    """For what people read and no program: the terminal's columns, or as COLUMNS says, or 80; no text fits into a few."""
    return max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def _blocks(header: Sequence[str], rows: Sequence[Sequence[str]], width: int, paint: Paint) -> list[str]:
    """The first cell of each row in full, the others under it, each with its column's name, as many in a line as fit."""
    lines: list[str] = []
    for first, *others in rows:
        lines.append(click.style(paint(0, first.replace("\n", " ")), bold=True))
        line, used = "", 0
        for column, cell in enumerate(others, 1):
            name, text = header[column], " ".join(cell.split())
            if not text:
                continue
            plain = f"{name} {text}" if name else text
            painted = f"{name} {paint(column, text)}" if name else paint(column, text)
            if used and len(INDENT) + used + len(GAP) + len(plain) > width:
                lines.append(INDENT + line)
                line, used = "", 0
            if len(INDENT) + len(plain) > width:
                import textwrap

                wrapped = textwrap.wrap(
                    plain, width - len(INDENT), break_long_words=False, break_on_hyphens=False
                )
                lines += [INDENT + part for part in wrapped]
                continue
            line, used = (
                (f"{line}{GAP}{painted}", used + len(GAP) + len(plain)) if used else (painted, len(plain))
            )
        if used:
            lines.append(INDENT + line)
    return lines


def _width(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    columns = zip(header, *rows, strict=True)
    return sum(max(map(_wide, column)) for column in columns) + len(GAP) * (len(header) - 1)


def _wide(cell: str) -> int:
    return max(map(len, cell.split("\n")))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
