"""tenyson train, rl and eval: a data file and a model on one line, in place of an experiment file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tenyson.cli.dataset.options import reading_arguments, reading_options
from tenyson.cli.options import json_option
from tenyson.cli.terminal.names import complete_backend


def _running_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_RUNNING):
        function = option(function)
    return function


_RUNNING = (
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set any key of the configuration, such as training.packing=true. Repeatable.",
    ),
    click.option("--backend", help="Where to run; local if not given.", shell_complete=complete_backend),
    click.option(
        "--output-dir", default="./outputs", show_default=True, type=click.Path(file_okay=False), metavar="DIR",
        help="Folder for the configuration, the run folders and the report.",
    ),
    click.option("--dry-run", is_flag=True, help="Write the configuration and print what would run; start nothing."),
    json_option("Print the outcome as JSON on stdout, and nothing else there."),
)  # fmt: skip
_eval_fraction = click.option(
    "--eval-fraction",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the rows that is held out, by a hash of the prompt  [default: 0.05; 0 with --eval-data]",
)
_eval_data = click.option(
    "--eval-data", metavar="FILE", help="File or data set that is evaluated on instead."
)
_max_steps = click.option(
    "--max-steps", type=click.IntRange(min=1), help="Optimizer steps, in place of --epochs."
)
_learning_rate = click.option(
    "--lr", "learning_rate", type=click.FloatRange(min=0, min_open=True), help="Peak learning rate."
)
_full = click.option("--full", is_flag=True, help="Train all weights rather than a LoRA adapter.")


@click.command()
@click.argument("data", nargs=-1, required=True)
@click.option("--model", required=True, help="Directory, name on the Hub, or an earlier run.")
@_full
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    help="Passes over the rows.",
)
@_max_steps
@_learning_rate
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Rows of an optimizer step.",
)
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    help="Tokens after which rows are cut  [default: the model's context, at most 2048]",
)
@_eval_fraction
@_eval_data
@reading_options
@_running_options
@click.pass_context
def train(context: click.Context, /, data: tuple[str, ...], **options: Any) -> int:
    """Train a model on DATA: supervised fine-tuning, or DPO where rows are pairs of a chosen and a rejected answer.

    \b
    tenyson train data.jsonl --model Qwen/Qwen3-0.6B
    tenyson train data.csv --model ./model --column prompt=question --column completion=answer

    DATA is a file (JSONL, JSON, CSV, Parquet), a folder of them, or a data set of the Hub; `tenyson data DATA` shows how it is
    read. The configuration behind the line is printed, and written as a file to edit.
    """
    from tenyson.cli.dataset.recipes import train_document

    return _run(context, train_document, data, options)


@click.command()
@click.argument("data", nargs=-1, required=True)
@click.option("--model", required=True, help="Directory, name on the Hub, or an earlier run.")
@click.option(
    "--reward",
    "rewards",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Reward: exact, number, math, choice, code, or module:function. Repeatable.",
)
@_full
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Passes over the prompts.",
)
@_max_steps
@_learning_rate
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Completions of an optimizer step.",
)
@click.option(
    "--group",
    "num_generations",
    type=click.IntRange(min=2),
    default=8,
    show_default=True,
    help="Completions of each prompt, which GRPO compares.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Tokens of a completion.",
)
@_eval_fraction
@_eval_data
@reading_options
@_running_options
@click.pass_context
def rl(context: click.Context, /, data: tuple[str, ...], **options: Any) -> int:
    """Train a model on the prompts of DATA by GRPO, with rewards that compare its replies with the answers there.

    \b
    tenyson rl gsm8k.jsonl --model Qwen/Qwen3-0.6B --reward number

    An evaluation before and one after show what it has learnt, where rows are held out.
    """
    from tenyson.cli.dataset.recipes import rl_document

    return _run(context, rl_document, data, options)


@click.command(name="eval")
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    help="Directory, name on the Hub, or an earlier run. Repeatable: they are compared.",
)
@click.option(
    "--reward",
    "rewards",
    multiple=True,
    metavar="NAME",
    default=("exact",),
    show_default=True,
    help="Reward: exact, number, math, choice, code, or module:function. Repeatable.",
)
@click.option("--samples", type=click.IntRange(min=1), help="Rows to evaluate on  [default: all]")
@click.option(
    "--replies", type=click.IntRange(min=1), default=1, show_default=True, help="Replies to each prompt."
)
@click.option(
    "--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True, help="0 is greedy."
)
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="Tokens of a reply."
)
@click.option(
    "--eval-fraction",
    type=click.FloatRange(0, 1, max_open=True),
    help="Evaluate on the rows that this share holds out  [default: as a run among the models held out of the same data, else all rows]",
)
@reading_options
@_running_options
@click.pass_context
def evaluate(context: click.Context, /, data: tuple[str, ...], **options: Any) -> int:
    """Evaluate one or several models on DATA, and compare them.

    \b
    tenyson eval data.jsonl --model Qwen/Qwen3-0.6B --model RUN

    RUN is an earlier run of `tenyson train` or `tenyson rl`: rows that it held out of the same data are what is evaluated on.
    """
    from tenyson.cli.dataset.recipes import eval_document

    return _run(context, eval_document, data, options)


def _run(
    context: click.Context,
    recipe: Callable[..., tuple[dict[str, Any], list[str]]],
    data: tuple[str, ...],
    options: dict[str, Any],
) -> int:
    """Write the experiment file and run it."""
    from tenyson.cli.dataset.document import write_document
    from tenyson.cli.pipelines.run import run

    running = {key: options.pop(key) for key in ("overrides", "backend", "dry_run", "as_json")}
    folder = Path(options.pop("output_dir")).expanduser()
    document, notes = recipe(reading_arguments(data, options), folder, **options)
    path = write_document(document, folder, f"tenyson {' '.join(map(shlex.quote, sys.argv[1:]))}")
    for note in notes:
        click.echo(note, err=True)
    click.echo(path.read_text(encoding="utf-8"), err=running["as_json"])
    status: int = context.invoke(run, file=str(path), on_failure="abort", **running)
    return status
