"""Finding one run by what a person typed: its name, the beginning of it, or "latest"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tenyson.cli.options import one_run
from tenyson.cli.runs.databases import find_databases, job_folders, recorded_in, say_if_other, shown, url_key
from tenyson.cli.runs.records import (
    Record,
    newest_if_latest,
    record_of_database,
    record_of_folder,
    results_of,
)
from tenyson.core.run_folder import RunFolder
from tenyson.errors import TelemetryError
from tenyson.telemetry.read.store import Store


def find_run(run: str, db_url: str | None, output_dir: Path) -> tuple[str, str | None]:
    """The run's full name, and the URL of the database that has it; None where only a job folder knows it.

    Raises: TelemetryError: nobody knows the run, several begin like this, or a database cannot be read.
    """
    run = newest_if_latest(run, db_url, output_dir)
    databases = find_databases(db_url, output_dir)
    folders = job_folders(output_dir)
    names = dict.fromkeys([*(name for one in databases for name in one.names), *folders])
    places = [*(shown(one.url) for one in databases), str(output_dir)]
    where = f"{', '.join(places[:-1])} or {places[-1]}" if len(places) > 1 else places[0]
    name = one_run(run, list(names), f"there is no run {run!r} in {where}")
    having = [one.url for one in databases if name in one.names]
    if len(having) > 1 and name in folders and (url := recorded_in(folders[name])) is not None:
        # The folder is the latest run of that name, and says where it is recorded.
        having.sort(key=lambda one: url_key(one) != url_key(url))
    return name, having[0] if having else None


@contextmanager
def open_run(run: str, db_url: str | None, output_dir: Path) -> Iterator[tuple[Store, str]]:
    """The database that has a run, and the run's full name. Where it is not the command line's own, stderr tells which.

    Raises: TelemetryError: as `find_run`, or no database has the run.
    """
    name, url = find_run(run, db_url, output_dir)
    if url is None:
        folder = job_folders(output_dir)[name]
        named = recorded_in(folder)
        raise TelemetryError(
            f"run {name} is in no database: only its folder is known",
            place=str(folder.path),
            next_step=f"Its configuration names {shown(named)}, which is not there or has no such run: give --db-url."
            if named
            else f"Its configuration names no telemetry.db_url; what it logged is in {folder.events}.",
        )
    say_if_other(url, db_url)
    with Store(url) as store:
        yield store, name


def read_record(run_id: str, db_url: str | None, output_dir: Path) -> Record:
    """One run, by its name, the beginning of it or "latest", with the details of its job folder where that is on this machine.

    Raises:
        TelemetryError: nobody knows the run, several begin like this, or the database was named and cannot be read.
    """
    name, url = find_run(run_id, db_url, output_dir)
    if url is None:
        return record_of_folder(job_folders(output_dir)[name])
    with Store(url) as store:
        run = store.run(name)
    if run is None:
        raise TelemetryError(f"there is no run {name!r} in {shown(url)}")
    return replace(record_of_database(run, url), results=results_of(RunFolder(Path(run.output_dir)).results))
