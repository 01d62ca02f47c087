"""How `tenyson data` prints a survey."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from tenyson.cli.dataset.survey import LISTED, Survey
from tenyson.core.sanitize import safe

SHOWN = 1_500
"""Characters of a row."""
_COLOURS = {"error": "red", "warning": "yellow", "info": "green"}


def print_survey(found: Survey) -> None:
    """Sources, rows, lengths, what is learnt, findings."""
    for source in found.sources:
        columns = ", ".join(f"{field} from {safe(where)}" for field, where in source.columns.items())
        read = f", {columns}" if columns else ""
        click.echo(f"{click.style(safe(source.label), bold=True)}: {source.rows:,} rows, format {source.format}{read}; SFT learns {source.learns}"
                   if source.format != "preference"
                   else f"{click.style(safe(source.label), bold=True)}: {source.rows:,} rows, format {source.format}{read}; DPO learns {source.learns}")  # fmt: skip
    if found.lengths:
        lengths = ", ".join(f"{percent} {length:,}" for percent, length in found.lengths.items())
        click.echo(f"{found.unit} of a row, at most: {lengths}")
    several = {replies: number for replies, number in found.turns.items() if replies not in ("0", "1")}
    if several:
        click.echo(
            "replies in a row: "
            + ", ".join(f"{one} in {number:,}" for one, number in sorted(found.turns.items(), key=_number))
        )
    coloured = sys.stdout.isatty()
    for number, pieces in enumerate(found.samples, 1):
        how = "green" if coloured else "between « and »"
        click.echo("\n" + click.style(f"row {number}", bold=True) + f" (what is learnt: {how})")
        click.echo(_decoded(pieces, coloured).rstrip("\n"))
    click.echo()
    for one in found.bad:
        click.echo(f"{click.style('error', fg='red')}: {safe(one)}")
    if found.bad_rows > LISTED:
        click.echo(
            f"{click.style('error', fg='red')}: {found.bad_rows - LISTED:,} further rows cannot be read"
        )
    for finding in found.findings:
        if finding.check != "bad_rows":
            click.echo(
                f"{click.style(finding.severity, fg=_COLOURS[finding.severity])}: {safe(str(finding))}"
            )
    if not found.bad and not found.findings:
        click.echo(f"{click.style('fine', fg='green')}: nothing odd was found in {found.rows:,} rows")


def _decoded(pieces: Iterable[tuple[str, bool]], coloured: bool) -> str:
    text, left = "", SHOWN
    for piece, learnt in pieces:
        part = safe(piece[:left]) if "\n" not in piece else "\n".join(map(safe, piece[:left].split("\n")))
        left -= len(piece)
        if coloured:
            text += click.style(part, fg="green") if learnt else click.style(part, dim=True)
        else:
            text += f"«{part}»" if learnt else part
        if left <= 0:
            return f"{text} ..."
    return text


def _number(item: tuple[str, int]) -> int:
    return int(item[0])
