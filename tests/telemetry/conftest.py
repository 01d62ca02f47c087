"""Databases for the telemetry tests: a SQLite file, and PostgreSQL (tests/fakes/postgres.py)."""

from pathlib import Path

import pytest

from tenyson.config.schema import Config


@pytest.fixture
def make_config(tmp_path):
    """A configuration with the given sections over a model that is never loaded."""

    def make(**sections) -> Config:
        return Config(**{"model": {"name": "unused"}, "run": {"id": "run-1"}} | sections)

    return make


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/folder/that/is/new/telemetry.db"


@pytest.fixture(params=["sqlite", "postgres"])
def db_url(request) -> str:
    """Each test that takes this runs against both databases."""
    return request.getfixturevalue(f"{request.param}_url")
