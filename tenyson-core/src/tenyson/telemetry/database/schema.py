"""The schema's version: made at once in an empty database, migrated by Alembic in one that holds runs.

A job never migrates a database with runs in it: a second job of the old version may be writing to it. It spools, and
says which command to run. Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import Connection, Engine, text

from tenyson.errors import TelemetryError
from tenyson.telemetry.database.tables import metadata
from tenyson.telemetry.database.version import HEAD
from tenyson.telemetry.database.views import create_views

BEFORE_VERSIONS = "0001"
"""The schema of 0.1 before it was versioned."""
VERSION_TABLE = "tenyson_schema"

# Any number will do, as long as no other program takes the same one.
_LOCK = 0x7E4750


_JOURNAL = "pipeline_journal"
"""The table by which a journal of pipelines is known; it may share the database."""


class SchemaOutdatedError(TelemetryError):
    """The database holds runs in an older schema."""


def read_version(connection: Connection) -> str | None:
    """The schema's version; None where there are no telemetry tables.

    Raises: TelemetryError: the tables are somebody else's.
    """
    names = set(sqlalchemy.inspect(connection).get_table_names())
    if VERSION_TABLE in names:
        version = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        return None if version is None else str(version)
    if {"runs", "sft_metrics", "run_controls"} <= names:
        return BEFORE_VERSIONS
    if taken := names & set(metadata.tables):
        raise TelemetryError(
            f"this database has tables of the same names that are not Tenyson's: {', '.join(sorted(taken))}",
            next_step="Give telemetry a database of its own.",
        )
    return None


def holds_pipelines(connection: Connection) -> bool:
    """Whether the database has a journal of pipelines."""
    return sqlalchemy.inspect(connection).has_table(_JOURNAL)


def check_version(version: str | None) -> None:
    """Refuse what this release cannot read.

    Raises:
        SchemaOutdatedError: an older schema.
        TelemetryError: no telemetry tables, or a newer schema.
    """
    if version == HEAD:
        return
    if version is None:
        raise TelemetryError("this is not a telemetry database: it has no table `runs`")
    if version > HEAD:
        raise TelemetryError(
            f"this database has schema {version}, and this release of Tenyson knows schemas up to {HEAD}",
            next_step="Upgrade tenyson-core.",
        )
    raise SchemaOutdatedError(
        f"this database has schema {version}; this release of Tenyson needs {HEAD}",
        next_step="Run `tenyson telemetry migrate` once no job of the older release writes to it.",
    )


def prepare(engine: Engine) -> None:
    """Make the tables in an empty database; bring an older one up to date only where it holds no run.

    Raises: as `check_version`.
    """
    with engine.connect() as connection:
        if read_version(connection) == HEAD:  # without the lock: another run may hold it for seconds
            return
    with engine.begin() as connection:  # on SQLite this holds the write lock
        lock(connection)
        version = read_version(connection)
        if version is None:
            create(connection)
        elif version < HEAD and not connection.execute(text("SELECT count(*) FROM runs")).scalar():
            upgrade(connection)
        else:
            check_version(version)


def create(connection: Connection) -> None:
    """Make tables and views of the newest version."""
    metadata.create_all(connection)
    for statement in create_views(connection.dialect.name):
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} VALUES ('{HEAD}')")


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Bring a database up to date, under a lock, in one transaction. Returns the versions before and after.

    Raises: TelemetryError: a newer schema, or somebody else's tables.
    """
    with engine.begin() as connection:
        lock(connection)
        before = read_version(connection)
        if before is None:
            create(connection)
        elif before < HEAD:
            upgrade(connection)
        else:
            check_version(before)
    return before, HEAD


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "tenyson:telemetry/migrations")
    config.attributes["connection"] = connection
    if VERSION_TABLE not in sqlalchemy.inspect(connection).get_table_names():
        command.stamp(config, BEFORE_VERSIONS)
    command.upgrade(config, HEAD)


def lock(connection: Connection) -> None:
    """Hold back others who would change the schema, until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
