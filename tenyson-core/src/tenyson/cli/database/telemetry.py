"""`tenyson telemetry`: store what dead processes left in their spools, and migrate older schemas."""

from __future__ import annotations

from pathlib import Path

import click

from tenyson.cli import options
from tenyson.core.run_folder import RunFolder
from tenyson.errors import TelemetryError


@click.group()
def telemetry() -> None:
    """Recover events that a killed run had not stored, or migrate a database."""


@telemetry.command(short_help="Store the events that killed runs left behind.")
@click.argument(
    "folders", nargs=-1, type=click.Path(file_okay=False, path_type=Path), metavar="[RUN FOLDER]..."
)
@options.output_dir
@options.db_url
@click.option("--keep", is_flag=True, help="Keep the spool's files.")
def recover(folders: tuple[Path, ...], output_dir: Path, db_url: str | None, keep: bool) -> None:
    """Store the events that killed runs left in their spools; by default those of all job folders. Safe to run again."""
    from tenyson.telemetry.spool.spool import find_spools

    for folder in folders:
        if not folder.is_dir():
            raise TelemetryError("there is no such folder", place=str(folder))
    chosen = list(folders) or (sorted(path for path in output_dir.iterdir()) if output_dir.is_dir() else [])
    found = [folder for folder in chosen if find_spools(folder)]
    if not found:
        click.echo("nothing to store")
    for folder in found:
        _recover_folder(folder, db_url, keep)


def _recover_folder(folder: Path, db_url: str | None, keep: bool) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    from tenyson.telemetry.database.engine import connect, first_line, open_database
    from tenyson.telemetry.database.packing import packer_for
    from tenyson.telemetry.spool.recover import recover_spool
    from tenyson.telemetry.spool.spool import find_spools

    configured, compress = _configured(folder)
    url = db_url or configured or options.database_url(None)
    try:
        # One that is made here would get events that belong elsewhere.
        connect(url, create=db_url is not None, must_exist=db_url is None).dispose()
        engine = open_database(url, create=True)
    except TelemetryError as error:
        if db_url is None:
            # Running a job, as advised elsewhere, would make a database without what waits here.
            error.next_step = f"name the database of {folder.name} with --db-url"
        raise
    pack = packer_for(url, compress=compress)
    place = engine.url.render_as_string(hide_password=True)
    rented = RunFolder(folder).controller.is_dir()  # another machine wrote it
    try:
        for spool in find_spools(folder):
            if spool.is_alive():
                click.echo(
                    f"{spool.header.run_id}: its process still runs and stores its spool itself; left alone"
                )
                continue
            if rented and spool.header.run_id != folder.resolve().name:
                click.echo(f"{spool.path(spool.segments[0])} is of another run; left alone", err=True)
                continue
            done = recover_spool(engine, spool, pack=pack, keep=keep, foreign=rented)
            if done.elsewhere and not done.events:
                click.echo(
                    f"{spool.header.run_id}: another process has just stored its events; nothing left to do"
                )
                continue
            click.echo(f"{spool.header.run_id}: {done.events} events stored in {place}")
            if done.torn_bytes:
                click.echo(
                    f"  the last {done.torn_bytes} bytes are an incomplete batch: the process died while it wrote them"
                )
            if done.refused:
                click.echo(f"  {done.refused} events were refused by the database: {done.refusal}")
            if done.ended:
                click.echo("  the attempt had recorded no exit status; it is marked as failed now")
    except (SQLAlchemyError, OSError) as error:
        raise TelemetryError(
            f"the database did not take everything: {first_line(error)}",
            place=str(RunFolder(folder).spool),
            next_step="Nothing is lost: call it again.",
        ) from error
    finally:
        engine.dispose()


def _configured(folder: Path) -> tuple[str | None, bool]:
    """Of the run's own configuration: `telemetry.db_url`, and whether its completions are packed."""
    import yaml

    try:
        config = yaml.safe_load(RunFolder(folder).config.read_text(encoding="utf-8"))
        section = config["telemetry"]
        settings = (section.get("settings") or {}).get("sql") or {}
        return section["db_url"], bool(settings.get("compress"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None, False


@telemetry.command()
@options.db_url
def migrate(db_url: str | None) -> None:
    """Migrate a database of an older release. Stop the jobs that write to it first."""
    from sqlalchemy.exc import SQLAlchemyError

    from tenyson.telemetry.database.engine import connect, first_line
    from tenyson.telemetry.database.schema import migrate as run

    url = options.database_url(db_url)
    engine = connect(url, create=True, must_exist=True)
    try:
        before, after = run(engine)
    except (SQLAlchemyError, OSError) as error:
        raise TelemetryError(
            f"the database cannot be used: {first_line(error)}",
            place=engine.url.render_as_string(hide_password=True),
        ) from error
    finally:
        engine.dispose()
    click.echo(f"schema {after}: nothing to do" if before == after else f"schema {before} -> {after}")
