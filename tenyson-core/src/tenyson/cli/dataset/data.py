"""tenyson data: what is in a data file, how it is read, what will be learnt, and what is odd about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli.dataset.options import reading_arguments, reading_options
from tenyson.cli.options import json_option

if TYPE_CHECKING:
    from tenyson.cli.dataset.survey import Survey


@click.command()
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--model",
    help="Tokenizer and chat template: directory, or name on the Hub. Shows tokens and what is learnt.",
)
@click.option("--eval-data", metavar="FILE", help="Rows of evaluation, to be compared with those of DATA.")
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    help="With --model: count the rows that training.max_length would cut.",
)
@click.option(
    "--rows", "shown", type=click.IntRange(min=0), default=2, show_default=True, help="Rows to show."
)
@click.option(
    "--near/--no-near", default=True, help="Look for rows that are nearly the same (MinHash; default)."
)
@reading_options
@json_option("Print what was found as JSON.")
def data(data: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Show what is in DATA, how it is read, and what is odd about it: bad rows, duplicates, overlap with --eval-data, strange characters.

    \b
    tenyson data data.jsonl
    tenyson data data.jsonl --model Qwen/Qwen3-0.6B --eval-data test.jsonl

    DATA is a file (JSONL, JSON, CSV, Parquet), a folder of them, or a data set of the Hub. Exits with 1 where rows cannot be read.
    """
    from tenyson.cli.dataset.survey import survey
    from tenyson.cli.dataset.survey_view import print_survey
    from tenyson.cli.terminal.format import print_json

    own = {key: options.pop(key) for key in ("model", "eval_data", "max_length", "shown", "near")}
    found: Survey = survey(reading_arguments(data, options), **own)
    if as_json:
        print_json(asdict(found))
    else:
        print_survey(found)
    return int(bool(found.bad_rows))
