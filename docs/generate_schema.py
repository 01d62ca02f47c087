"""Writes docs/reference/schema.md from the tables and views of the telemetry database.

python docs/generate_schema.py [--check]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tenyson.pipeline.journal import tables as journal
from tenyson.telemetry.database import views
from tenyson.telemetry.database.engine import open_database
from tenyson.telemetry.database.schema import VERSION_TABLE
from tenyson.telemetry.database.tables import metadata
from tenyson.telemetry.database.version import HEAD

PAGE = Path(__file__).parent / "reference" / "schema.md"

HEAD_OF_PAGE = f"""# Schema of the telemetry database

Written from the code by `docs/generate_schema.py`. This is version {HEAD}; `{VERSION_TABLE}.version_num` holds that of a
database, and `tenyson telemetry migrate` brings an older one up to date.

Ask the views; the tables are there for what the views leave out. [The how-to](../how-to/sql.md) has ten questions.
Times are seconds since the epoch: `datetime(created_at, 'unixepoch')` in SQLite, `to_timestamp(created_at)` in
PostgreSQL. JSON has no NaN: such numbers are the strings `"NaN"`, `"Infinity"` and `"-Infinity"` in it, and null in columns of
numbers. NUL characters and half surrogates in texts are replaced.
"""

VIEWS = """
## Views

The canonical record: each step once. If a resumed attempt repeats steps, its rows supersede those of the attempt before.
"""

TABLES = """
## Tables

All attempts, as they were recorded. A user may write to `run_controls`, and to no other table.
"""

JOURNAL = """
## The journal of pipelines

What [pipelines](pipelines.md) are kept in, in the database of the command line (`TENYSON_DB_URL`). A user may set `answer` of
`pipeline_decisions`, where it is null, and write to nothing else.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD_OF_PAGE, VIEWS]
    for name, columns in view_columns().items():
        parts.append(section(name, views.COMMENTS[name], columns))
    parts.append(TABLES)
    for table in metadata.sorted_tables:
        columns = [(column.name, kind(str(column.type)), column.comment or "") for column in table.columns]
        parts.append(section(table.name, table.comment or "", columns))
    parts.append(JOURNAL)
    for table in journal.metadata.sorted_tables:
        columns = [(column.name, kind(str(column.type)), column.comment or "") for column in table.columns]
        parts.append(section(table.name, table.comment or "", columns))
    return "".join(parts)


def section(name: str, comment: str, columns: list[tuple[str, str, str]]) -> str:
    """One table or view."""
    rows = "".join(f"| `{column}` | {type_} | {meaning} |\n" for column, type_, meaning in columns)
    return f"\n### {name}\n\n{comment}\n\n| column | type | meaning |\n| --- | --- | --- |\n{rows}"


def view_columns() -> dict[str, list[tuple[str, str, str]]]:
    """Columns of each view, asked of a real database, with what their tables say of them."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(f"sqlite:///{folder}/t.db", create=True)
        with engine.connect() as connection:
            for name, bases in views.BASES.items():
                own = {column.name: column for base in bases for column in metadata.tables[base].columns}
                names = [row[1] for row in connection.execute(text(f"PRAGMA table_info({name})"))]
                found[name] = [(column, *about(name, column, own)) for column in names]
        engine.dispose()
    return found


def about(view: str, name: str, own: dict[str, Any]) -> tuple[str, str]:
    """Type and meaning of a view's column."""
    column = own.get(name)
    if name in views.COLUMNS and not (view == "groups" and column is not None):
        return views.COLUMNS[name]
    if column is None:
        return "number", ""
    return kind(str(column.type)), column.comment or ""


def kind(type_: str) -> str:
    """A type in plain words."""
    name = type_.split("(")[0].lower()
    words = {"varchar": "text", "text": "text", "integer": "whole number", "bigint": "whole number",
             "double": "number", "json": "JSON", "boolean": "true or false"}  # fmt: skip
    return words[name]


if __name__ == "__main__":
    if "--check" in sys.argv:
        out_of_date = f"{PAGE} is out of date: python docs/generate_schema.py"
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else out_of_date)
    PAGE.write_text(page(), encoding="utf-8")
