"""Migrations of the telemetry database, by Alembic: one file a version, whose tables are frozen in `schemas`.

`python -m tenyson.telemetry.migrations.frozen` writes them.
"""
