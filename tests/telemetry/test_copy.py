"""Rows that go into PostgreSQL by COPY fail as everything else does: by SQLAlchemy's errors, which callers await."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, OperationalError

from tenyson.telemetry.database.bulk import insert_rows
from tenyson.telemetry.database.engine import open_database
from tenyson.telemetry.database.tables import rollout_records


@pytest.fixture
def engine(postgres_url):
    engine = open_database(postgres_url, create=True)
    yield engine
    engine.dispose()


def row(**given):
    return tuple(given.get(column.name) for column in rollout_records.columns)


@pytest.mark.slow
def test_a_value_that_does_not_fit_is_a_data_error_and_leaves_the_connection_usable(engine):
    with engine.connect() as connection:
        with pytest.raises(DataError), connection.begin():
            insert_rows(connection, rollout_records, [row(run_id="r", step="no number")])
        assert connection.execute(text("SELECT 1")).scalar() == 1


def insert_while_the_server_ends_the_connection(engine):
    with engine.begin() as connection:
        own = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": own})
        insert_rows(connection, rollout_records, [row(run_id="r", step=1)])


def test_a_server_that_ends_the_connection_is_an_outage(engine):
    with pytest.raises(OperationalError):
        insert_while_the_server_ends_the_connection(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
