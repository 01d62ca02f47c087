"""Columns of runs are descriptors: what fills a column of a table, what reads it, and how `tenyson runs` lists it."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tenyson.cli.runs import columns as listing
from tenyson.telemetry.database import tables
from tenyson.telemetry.events import RunStarted
from tenyson.telemetry.events.provenance import gather
from tenyson.telemetry.read import record


def test_what_fills_a_column_exists():
    """A column that the start of an attempt fills has a field of the event, or an entry of its provenance, of the same name."""
    of_event = {field.name for field in fields(RunStarted)}
    of_provenance = set(gather({}))
    told = [
        (column.info["told"], column.name)
        for table in (tables.runs, tables.attempts)
        for column in table.c
        if "told" in column.info
    ]
    assert len(told) >= 11
    for source, name in told:
        assert name in {"RunStarted": of_event, "provenance": of_provenance}[source]


def test_what_a_record_reads_exists():
    """Each field of a RunRecord is a column of the table that it names, and each column of `runs` but its number is read."""
    for name, table in record.columns().items():
        assert name in getattr(tables, table).c
    assert {name for name, table in record.columns().items() if table == "runs"} == set(
        tables.runs.c.keys()
    ) - {"id"}


def test_the_list_and_json_have_the_columns_that_they_always_had():
    """Scripts read them by name."""
    narrow, wide = (listing.table([], wide=is_wide)[0] for is_wide in (False, True))
    assert narrow == ("run", "job", "task", "status", "started", "took", "result")
    assert wide == ("run", "job", "task", "status", "started", "took", "attempt", "folder", "results")
    assert {column.json for column in listing.COLUMNS if column.json} == {
        "run_id", "job", "task", "status", "started", "seconds", "metrics", "folder", "attempt",
    }  # fmt: skip
    assert list(listing.SORTED) == ["started", "took", "name", "status"]


@pytest.mark.parametrize(("value", "shown"), [(None, ""), (3, "3"), (0.25, "0.25"), ("main", "main")])
def test_a_further_column_shows_what_is_known(value, shown):
    """Nothing where a database or a folder does not know it."""
    assert listing._known(value) == shown
