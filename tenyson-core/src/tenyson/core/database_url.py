"""The database that is used where nobody names one."""

from __future__ import annotations

import os

DB_URL_VARIABLE = "TENYSON_DB_URL"
DEFAULT_DB_URL = "sqlite:///./tenyson_telemetry.db"
"""The command line's database, unless TENYSON_DB_URL or an option names another."""


def default_db_url() -> str:
    """The value of TENYSON_DB_URL, or a file in the working directory."""
    return os.environ.get(DB_URL_VARIABLE) or DEFAULT_DB_URL
