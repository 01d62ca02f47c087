"""What broke a rollout: a table of its own, and a view."""

from __future__ import annotations

from alembic import op

from tenyson.telemetry.migrations.frozen import frozen_statements

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add them; nothing that is stored changes."""
    connection = op.get_bind()
    tables, views = frozen_statements("0003", connection.dialect.name)
    for statement in (*tables, *views):
        if statement.startswith(("CREATE TABLE rollout_error_records", "CREATE VIEW rollout_errors")):
            connection.exec_driver_sql(statement)
