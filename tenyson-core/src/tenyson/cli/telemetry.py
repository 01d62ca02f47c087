"""`tenyson telemetry`: looking after the record: what dead processes left, and older schemas."""

from __future__ import annotations

from pathlib import Path

import click

from tenyson.cli import options
from tenyson.errors import TelemetryError


@click.group()
def telemetry() -> None:
    """Recover what a killed run had not stored yet, or bring a database up to date."""


@telemetry.command()
@click.argument(
    "folders", nargs=-1, type=click.Path(file_okay=False, path_type=Path), metavar="[RUN FOLDER]..."
)
@options.output_dir
@options.db_url
@click.option("--keep", is_flag=True, help="Leave the spool's files where they are.")
def recover(folders: tuple[Path, ...], output_dir: Path, db_url: str | None, keep: bool) -> None:
    """Store what killed runs left in their spools; by default those of all job folders. Calling it again does no harm."""
    from tenyson.telemetry.spool import find_spools

    for folder in folders:
        if not folder.is_dir():
            raise TelemetryError("there is no such folder", place=str(folder))
    chosen = list(folders) or (sorted(path for path in output_dir.iterdir()) if output_dir.is_dir() else [])
    found = [folder for folder in chosen if find_spools(folder)]
    if not found:
        click.echo("nothing waits to be stored")
    for folder in found:
        _recover_folder(folder, db_url, keep)


def _recover_folder(folder: Path, db_url: str | None, keep: bool) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    from tenyson.telemetry.database import first_line, open_database
    from tenyson.telemetry.recover import recover_spool
    from tenyson.telemetry.spool import find_spools

    url = db_url or _configured_url(folder) or options.database_url(None)
    engine = open_database(url, create=True)
    try:
        for spool in find_spools(folder):
            if spool.is_alive():
                click.echo(
                    f"{spool.header.run_id}: its process still runs and stores its spool itself; left alone"
                )
                continue
            done = recover_spool(engine, spool, keep=keep)
            click.echo(f"{spool.header.run_id}: {done.events} events stored")
            if done.torn_bytes:
                click.echo(
                    f"  the last {done.torn_bytes} bytes are no whole batch: it was being written when it died"
                )
            if done.refused:
                click.echo(f"  {done.refused} events were refused by the database: {done.refusal}")
            if done.ended:
                click.echo("  nobody had written how the attempt ended; it is marked as failed now")
    except (SQLAlchemyError, OSError) as error:
        raise TelemetryError(
            f"the database did not take everything: {first_line(error)}",
            place=str(folder / "spool"),
            next_step="Nothing is lost: call it again.",
        ) from error
    finally:
        engine.dispose()


def _configured_url(folder: Path) -> str | None:
    """`telemetry.db_url` of the run's own configuration."""
    import yaml

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    section = config.get("telemetry") if isinstance(config, dict) else None
    url = section.get("db_url") if isinstance(section, dict) else None
    return url if isinstance(url, str) else None


@telemetry.command()
@options.db_url
def migrate(db_url: str | None) -> None:
    """Bring a database of an older release up to date. Stop the jobs that write to it first."""
    from tenyson.telemetry.database import connect
    from tenyson.telemetry.schema import migrate as run

    url = options.database_url(db_url)
    engine = connect(url, create=True, must_exist=True)
    try:
        before, after = run(engine)
    finally:
        engine.dispose()
    click.echo(f"schema {after}: nothing to do" if before == after else f"schema {before} -> {after}")
