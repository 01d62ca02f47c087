"""Frozen schemas: the statements of each version as text, so that a migration means the same for ever.

`python -m tenyson.telemetry.migrations.frozen` writes those of the newest version; a test says when that is due.
"""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy
from sqlalchemy.schema import CreateIndex, CreateTable

from tenyson.telemetry.database.tables import metadata
from tenyson.telemetry.database.version import HEAD
from tenyson.telemetry.database.views import create_views

FOLDER = Path(__file__).parent / "schemas"
DIALECTS = ("sqlite", "postgresql")


def frozen_statements(version: str, dialect: str) -> tuple[list[str], list[str]]:
    """Statements that make the tables with their indexes, and the views, of a version."""
    text = (FOLDER / f"{version}.{dialect}.sql").read_text(encoding="utf-8")
    statements = [statement.strip() for statement in text.split(";\n") if statement.strip()]
    views = [statement for statement in statements if statement.startswith("CREATE VIEW")]
    return [statement for statement in statements if statement not in views], views


def newest_schema(dialect: str) -> str:
    """The newest version's statements, as its file should hold them."""
    engine = sqlalchemy.create_mock_engine(
        {"sqlite": "sqlite://", "postgresql": "postgresql+psycopg://"}[dialect], lambda *_: None
    )
    statements = []
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=engine.dialect)))
        statements += [
            str(CreateIndex(index).compile(dialect=engine.dialect))
            for index in sorted(table.indexes, key=lambda index: str(index.name))
        ]
    statements += create_views(dialect)
    lines = [re.sub(r"[ \t]+\n", "\n", statement.strip()) for statement in statements]
    return ";\n".join(lines) + ";\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in DIALECTS:
        (FOLDER / f"{HEAD}.{name}.sql").write_text(newest_schema(name), encoding="utf-8")
