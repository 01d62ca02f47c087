"""What came of calls of tools: two numbers of each rollout, a table of its own, and a view."""

from __future__ import annotations

from alembic import op

from tenyson.telemetry.migrations.frozen import frozen_statements

revision = "0005"
down_revision = "0004"

_NUMBERS = ("tool_calls", "tool_calls_refused")
# `info` holds whatever an environment tells: an entry of this name may be anything.
_COUNTED = {
    "sqlite": "CASE WHEN json_valid(info) THEN json_type(info, '$.{0}') = 'integer' "
    "AND json_extract(info, '$.{0}') BETWEEN 0 AND 999999999 ELSE 0 END",
    "postgresql": "CASE WHEN json_typeof(info->'{0}') = 'number' THEN info->>'{0}' ~ '^[0-9]{{1,9}}$' ELSE false END",
}
_COUNT = {"sqlite": "json_extract(info, '$.{0}')", "postgresql": "CAST(info->>'{0}' AS integer)"}


def upgrade() -> None:
    """Add them. The numbers of earlier rollouts are those in their `info`; their calls are not known one by one."""
    connection = op.get_bind()
    dialect = connection.dialect.name
    for name in _NUMBERS:
        connection.exec_driver_sql(f"ALTER TABLE rollout_records ADD COLUMN {name} INTEGER")
    values = ", ".join(f"{name} = {_COUNT[dialect].format(name)}" for name in _NUMBERS)
    counted = " AND ".join(_COUNTED[dialect].format(name) for name in _NUMBERS)
    connection.exec_driver_sql(f"UPDATE rollout_records SET {values} WHERE {counted}")
    tables, views = frozen_statements("0005", dialect)
    if dialect == "sqlite":
        connection.exec_driver_sql("DROP VIEW IF EXISTS rollouts")
    for statement in (*tables, *views):
        if statement.startswith(("CREATE TABLE tool_call_records", "CREATE VIEW tool_calls")):
            connection.exec_driver_sql(statement)
        elif statement.startswith("CREATE VIEW rollouts AS"):
            # In PostgreSQL somebody's own views may depend on it.
            replaced = "CREATE VIEW" if dialect == "sqlite" else "CREATE OR REPLACE VIEW"
            connection.exec_driver_sql(statement.replace("CREATE VIEW", replaced, 1))
