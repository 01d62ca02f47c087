"""What judges said of rollouts: a table of its own, and a view."""

from __future__ import annotations

from alembic import op

from tenyson.telemetry.migrations.frozen import frozen_statements

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add them; nothing that is stored changes."""
    connection = op.get_bind()
    tables, views = frozen_statements("0004", connection.dialect.name)
    for statement in (*tables, *views):
        if statement.startswith(("CREATE TABLE verdict_records", "CREATE VIEW verdicts")):
            connection.exec_driver_sql(statement)
