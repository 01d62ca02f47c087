"""Commands that steer a run in another process, one for each verb of `tenyson.telemetry.control.verbs`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli import options
from tenyson.errors import TelemetryError
from tenyson.telemetry.control.verbs import TABLE, ControlVerb

if TYPE_CHECKING:
    from tenyson.core.run_folder import RunFolder
    from tenyson.telemetry.control.requests import ControlRequest


def _steers(command: Callable[..., None]) -> click.Command:
    """A command on one RUN, named in full or by its beginning, with the options that all of these share."""
    for option in (
        click.option(
            "--attempt",
            type=click.IntRange(min=1),
            help="Address this attempt only  [default: the running one]",
        ),
        click.option("--key", help="Name of the request: a second one with the same key has no effect."),
        click.option(
            "--output-dir",
            default="./outputs",
            show_default=True,
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder that holds the run folders, for runs that the database does not know.",
        ),
        options.db_url,
    ):
        command = option(command)
    return click.command()(click.argument("run")(command))


def _command(verb: ControlVerb) -> click.Command:
    def command(run: str, **given: Any) -> None:
        argument = given.pop(verb.argument) if verb.argument else None
        _ask(run, verb.name, argument, **given)

    command.__name__, command.__doc__ = verb.name, verb.help
    return _steers(
        click.argument(verb.argument, type=click.IntRange(min=1))(command) if verb.argument else command
    )


COMMANDS = {name: _command(verb) for name, verb in TABLE.items()}
"""A command for each verb; each is an attribute of this module too."""


def __getattr__(name: str) -> click.Command:
    try:
        return COMMANDS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


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
    from tenyson.cli.runs.databases import database_of, job_folders
    from tenyson.cli.runs.records import newest_if_latest
    from tenyson.telemetry.control.requests import ask

    if run == options.LATEST:
        with contextlib.suppress(TelemetryError):  # told below
            run = newest_if_latest(run, db_url, output_dir)
    url, folders = database_of(run, db_url, output_dir), job_folders(output_dir)
    known: list[str] = []
    away: TelemetryError | None = None
    try:
        with options.open_store(url) as store:
            known = store.run_ids()
    except TelemetryError as error:
        if not any(name.startswith(run) for name in folders):
            raise
        away = error
    names = list(dict.fromkeys([*known, *folders]))
    run = options.one_run(run, names, f"there is no run {run!r} in the database or in {output_dir}")
    if run in known:
        lost = _is_lost(url, run, verb)
        try:
            request = ask(url, run, verb, argument=argument, key=key, attempt=attempt)
        except TelemetryError as error:
            if run not in folders:
                raise
            away = error
        else:
            click.echo(_describe(request, lost=lost))
            return
    why = away.cause if away else f"the database knows no run {run}"
    if key is not None or attempt is not None:
        raise TelemetryError(
            f"{why}; and the control file supports neither --key nor --attempt",
            place=away.place if away else None,
        )
    path = _write_file(folders[run], verb, argument)
    click.echo(f"{why}: {verb} requested by the file {path}, which the run reads within a second")


def _is_lost(url: str, run: str, verb: str) -> bool:
    """Whether nobody has heard of the run for a while. Raises: TelemetryError: it has ended."""
    from tenyson.cli.runs.records import is_lost

    with options.open_store(url) as store:
        record = store.run(run)
    if record is not None and record.status != "running":
        raise _ended(run, record.status, verb)
    return record is not None and is_lost(record)


def _describe(request: ControlRequest, *, lost: bool) -> str:
    from tenyson.core.control import describe

    if not lost:
        return describe(request)
    asked = (
        f"{request.verb} requested" if request.recorded else f"a {request.verb} has already been requested"
    )
    return (
        f"run {request.run_id} has sent no heartbeat for 60 s: it was killed, or its machine is unreachable; "
        f"{asked}, and takes effect if the run is alive"
    )


def _write_file(folder: RunFolder, verb: str, argument: int | None) -> Path:
    """Ask by the control file. Raises: TelemetryError: the run has ended, or its folder cannot be written."""
    from tenyson.jobs.result import JobResult
    from tenyson.telemetry.control.file import write_request

    # A job writes its configuration when it begins and its result when it ends.
    if folder.job_result.is_file() and folder.job_result.stat().st_mtime >= folder.config.stat().st_mtime:
        raise _ended(folder.path.name, JobResult.load(folder.job_result).status, verb)
    try:
        return write_request(folder.path, verb, argument)
    except OSError as error:
        raise TelemetryError(
            f"the request cannot be written: {error.strerror}", place=str(folder.path)
        ) from error


def _ended(run: str, status: str, verb: str) -> TelemetryError:
    return TelemetryError(
        f"run {run} has already ended ({status}): {verb} has no effect",
        next_step=f"`tenyson show {run}` says what to do next.",
    )
