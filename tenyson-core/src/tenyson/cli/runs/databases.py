"""Which databases hold the runs, and which of them one run: the same rule for every command that reads.

`--db-url` names the only one. Without it there are the command line's own (TENYSON_DB_URL, or ./tenyson_telemetry.db) and
those that the configurations in the job folders name (`telemetry.db_url`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import click

from tenyson.cli.options import database_url
from tenyson.core.database_url import DB_URL_VARIABLE
from tenyson.core.run_folder import RunFolder
from tenyson.core.sanitize import safe
from tenyson.errors import TelemetryError
from tenyson.telemetry.database.readonly import NoRunsYetError, sqlite_file
from tenyson.telemetry.read.listing import list_names

_SECTION = re.compile(r"^telemetry:[ \t]*\n((?:[ \t]+[^\n]*\n|\n)*)", re.MULTILINE)
_DB_URL = re.compile(r"^[ \t]+db_url:[ \t]*(?P<quote>['\"]?)(?P<url>[^\n]*?)(?P=quote)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Database:
    """One database with runs, or one that is to have some."""

    url: str
    names: list[str] = field(default_factory=list)
    """Of its runs, the newest first."""


def find_databases(db_url: str | None, output_dir: Path) -> list[Database]:
    """The databases that are there; the command line's own comes first. Of one that a folder names and that cannot be read,
    a line on stderr tells.

    Raises:
        TelemetryError: the database that was named is not there, or cannot be read.
    """
    own = database_url(db_url)
    found = []
    if db_url or os.environ.get(DB_URL_VARIABLE) or _exists(own):
        found.append(Database(own, _names(own)))
    if db_url:
        return found
    known = {name for database in found for name in database.names}
    seen = {url_key(own)}
    for folder in job_folders(output_dir, without=known).values():
        url = recorded_in(folder)
        if url is None or url_key(url) in seen:
            continue
        seen.add(url_key(url))
        if not _exists(url):
            continue
        try:
            found.append(Database(url, _names(url)))
        except TelemetryError as error:
            click.echo(
                safe(f"{shown(url)}, where {folder.path.name} is recorded, is left out: {error.cause}"),
                err=True,
            )
    return found


def say_if_other(url: str, db_url: str | None) -> None:
    """Tell on stderr which database is read, where it is not the one that a reader expects."""
    if url_key(url) != url_key(database_url(db_url)):
        click.echo(safe(f"reading {shown(url)}"), err=True)


def database_of(run: str, db_url: str | None, output_dir: Path) -> str:
    """The URL of the database to ask for a run that may have begun only just now; nothing is opened."""
    if db_url is None:
        begin = [folder for name, folder in job_folders(output_dir).items() if run and name.startswith(run)]
        exact = [folder for folder in begin if folder.path.name == run] or begin
        if len(exact) == 1 and (url := recorded_in(exact[0])) is not None and _exists(url):
            return url
    return database_url(db_url)


def to_query(db_url: str | None, output_dir: Path) -> str:
    """The database for a query that names no run: the command line's own if it has runs, else the only one that has some.
    Where there are others, stderr tells.

    Raises: TelemetryError: several others have runs.
    """
    own = database_url(db_url)
    if db_url:
        return own
    found = find_databases(None, output_dir)
    others = [one.url for one in found if one.names and url_key(one.url) != url_key(own)]
    if any(one.names and url_key(one.url) == url_key(own) for one in found) or not others:
        if others:
            named = ", ".join(map(shown, others))
            click.echo(safe(f"reading {shown(own)}; other runs are recorded in {named} (--db-url)"), err=True)
        return own
    if len(others) > 1:
        raise TelemetryError(
            f"runs are recorded in several databases: {', '.join(map(shown, others))}",
            next_step="Name one with --db-url, such as sqlite:///./FILE.",
        )
    say_if_other(others[0], None)
    return others[0]


def job_folders(output_dir: Path, *, without: Collection[str] = ()) -> dict[str, RunFolder]:
    """The folders of jobs on this machine, by the run's name, but for those `without`."""
    try:
        if not output_dir.is_dir():
            return {}
        folders = {path.name: RunFolder(path) for path in output_dir.iterdir() if path.name not in without}
    except OSError as error:
        raise TelemetryError(
            f"the job folders cannot be read: {error.strerror}", place=str(output_dir)
        ) from error
    return {name: folder for name, folder in folders.items() if is_there(folder.config)}


def is_there(path: Path) -> bool:
    """Whether there is such a file, in a folder that may be looked into: somebody else's need not be ours to read."""
    try:
        return path.exists()
    except OSError:
        return False


def recorded_in(folder: RunFolder) -> str | None:
    """`telemetry.db_url` of the configuration in a job's folder, read without YAML's parser, which takes long."""
    try:
        text = folder.config.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    section = _SECTION.search(text + "\n")
    match = section and _DB_URL.search(section[1])
    if not match or match["url"] in ("", "null", "~"):
        return None
    url = match["url"].replace("''", "'") if match["quote"] == "'" else match["url"]
    file = sqlite_file(url)
    if file is not None and not is_there(file):
        # The project was moved or copied: its database moved with it.
        beside = folder.path.absolute().parent.parent / file.name
        return f"sqlite:///{beside}" if is_there(beside) else url
    return url


def shown(url: str) -> str:
    """For a person: an SQLite file by the path from here, and no password."""
    file = sqlite_file(url)
    if file is None:
        return without_password(url)
    path = file.absolute()
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def without_password(url: str) -> str:
    """The URL as it may be printed."""
    return re.sub(r"(//[^/@:]*):[^@/]*@", r"\1:***@", url)


def _names(url: str) -> list[str]:
    try:
        return list_names(url)
    except NoRunsYetError:
        return []


def _exists(url: str) -> bool:
    file = sqlite_file(url)
    return file is None or is_there(file)


def url_key(url: str) -> str:
    """A form that two URLs of one database share."""
    file = sqlite_file(url)
    return url if file is None else os.path.realpath(file)
