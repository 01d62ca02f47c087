"""`tenyson stop`, `pause`, `resume`, `checkpoint` and `extend`: steering a run that goes on elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tenyson.errors import TelemetryError


def _steers(command: Callable[..., None]) -> click.Command:
    """A command on one run, with the options that all of these share."""
    for option in (
        click.option(
            "--attempt", type=click.IntRange(min=1), help="Only that attempt; by default the one that runs."
        ),
        click.option("--key", help="A second request with the same key changes nothing."),
        click.option(
            "--output-dir",
            default="./outputs",
            show_default=True,
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder of the job folders, for a run whose database is away.",
        ),
        click.option(
            "--db-url",
            help="Telemetry database  [default: $TENYSON_DB_URL, or ./tenyson_telemetry.db]",
        ),
    ):
        command = option(command)
    return click.command()(click.argument("run")(command))


@_steers
def stop(run: str, **options: Any) -> None:
    """Ask a run to stop after its current step or batch; it saves as usual."""
    _ask(run, "stop", None, **options)


@_steers
def pause(run: str, **options: Any) -> None:
    """Hold a run after its current step or batch, until it is resumed."""
    _ask(run, "pause", None, **options)


@_steers
def resume(run: str, **options: Any) -> None:
    """Let a paused run go on. (`tenyson run --resume-from-checkpoint latest` starts one that has ended.)"""
    _ask(run, "resume", None, **options)


@_steers
def checkpoint(run: str, **options: Any) -> None:
    """Have a training run write a checkpoint after its current step."""
    _ask(run, "checkpoint", None, **options)


def _extend(run: str, steps: int, **options: Any) -> None:
    """Have a training run go on for STEPS optimizer steps more; the learning rate follows the new total."""
    _ask(run, "extend", steps, **options)


_extend.__name__ = "extend"
extend = _steers(click.argument("steps", type=click.IntRange(min=1))(_extend))


def _ask(
    run: str,
    verb: str,
    argument: int | None,
    *,
    db_url: str | None,
    output_dir: Path,
    key: str | None,
    attempt: int | None,
) -> None:
    from tenyson.core.control import describe
    from tenyson.telemetry.control.file import write_request
    from tenyson.telemetry.control.requests import ask
    from tenyson.telemetry.store import DB_URL_VARIABLE, DEFAULT_DB_URL

    url = db_url or os.environ.get(DB_URL_VARIABLE) or DEFAULT_DB_URL
    try:
        click.echo(describe(ask(url, run, verb, argument=argument, key=key, attempt=attempt)))
    except TelemetryError as error:
        folder = output_dir / run
        if not folder.is_dir():
            raise
        if key is not None or attempt is not None:
            raise TelemetryError(
                f"{error.cause}; and the control file knows neither --key nor --attempt", place=error.place
            ) from error
        path = write_request(folder, verb, argument)
        click.echo(f"{error.cause}: {verb} requested by the file {path}, which the run reads within a second")
