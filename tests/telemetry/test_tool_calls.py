"""Calls of tools in SQL: two numbers of each rollout, and a row of each call; what wrong ones come to, at the command line too."""

from __future__ import annotations

import json

import pytest
import sqlalchemy
from recording import began, left_behind, rollout, rows, started
from tests.fakes.forked import tenyson

from tenyson.telemetry.database import schema
from tenyson.telemetry.database.engine import connect, open_database
from tenyson.telemetry.events.checked import fault
from tenyson.telemetry.events.redact import Redactor
from tenyson.telemetry.migrations.frozen import frozen_statements
from tenyson.telemetry.spool.recover import recover


def call(outcome, cause="", *, name="add", turn=1, seconds=None):
    return {"turn": turn, "name": name, "outcome": outcome, "cause": cause, "seconds": seconds}


CALLS = [
    call("unreadable", "write it again", name=""),
    call("unknown", "there is no tool 'ad'", name="ad"),
    call("arguments", "b: required"),
    call("refused", "too large", turn=2, seconds=0.5),
    call("answered", turn=2, seconds=1.5),
    call("failed", "the tool add raises", turn=3, seconds=0.25),
]
"""One of each outcome."""


@pytest.fixture
def recorded(tmp_path, db_url):
    """A run with three rollouts: without tools, with tools and no call, and with six calls."""
    folder = tmp_path / "run-1"
    played = [
        rollout(sample_id="none"),
        rollout(sample_id="unused", tool_calls=[]),
        rollout(sample_id="used", tool_calls=CALLS, completion="six"),
    ]
    left_behind(folder, [started(), began(0)], played)
    engine = open_database(db_url, create=True)
    recover(engine, folder)
    engine.dispose()
    return db_url


def test_a_rollout_has_the_numbers_of_its_calls_and_null_without_tools(recorded):
    query = "SELECT sample_id, tool_calls, tool_calls_refused FROM rollouts ORDER BY sample_id"
    assert [tuple(row.values()) for row in rows(recorded, query)] == [
        ("none", None, None),
        ("unused", 0, 0),
        ("used", 6, 4),
    ]


def test_each_call_is_a_row_with_what_came_of_it(recorded):
    query = "SELECT sample_id, number, turn, tool AS name, outcome, cause, seconds FROM tool_calls ORDER BY number"
    found = rows(recorded, query)
    assert {one.pop("sample_id") for one in found} == {"used"}
    assert found == [{"number": number, **one} for number, one in enumerate(CALLS)]


@pytest.mark.slow
def test_rollouts_with_refused_calls_are_shown_with_what_the_model_was_told(recorded, tmp_path):
    """`tenyson rollouts --refused`: how often each tool's calls came to what, then the rollouts."""
    command = ("rollouts", "run-1", "--refused", "--db-url", recorded)
    said = tenyson(*command, cwd=tmp_path).stdout
    assert "add arguments: 1, such as: b: required\n" in said
    assert "- unreadable: 1, such as: write it again\n" in said
    assert "add answered: 1\n" in said
    assert "6 calls of tools (4 refused)" in said
    assert "turn 1: ad unknown: there is no tool 'ad'" in said
    assert "turn 2: add refused: too large" in said
    assert said.count("completion\n") == 1
    [row] = json.loads(tenyson(*command, "--json", cwd=tmp_path).stdout)
    assert [one["outcome"] for one in row["calls"]] == [one["outcome"] for one in CALLS]
    everyone = tenyson("rollouts", "run-1", "--db-url", recorded, cwd=tmp_path).stdout
    assert everyone.count("calls of tools") == 1


@pytest.mark.parametrize(
    "odd",
    [
        "text",
        [1],
        [call("x" * 17)],
        [call(["answered"])],
        [{**call("answered"), "name": None}],
        [{**call("answered"), "turn": -1}],
        [{**call("answered"), "seconds": "long"}],
        [{"turn": 1}],
    ],
)
def test_calls_that_are_none_are_refused_with_their_event(odd):
    whole = dict(vars(rollout(tool_calls=CALLS)))
    assert fault(whole) is None
    assert fault({**whole, "tool_calls": odd}) == "RolloutFinished: tool_calls"


def test_a_secret_in_what_the_model_was_told_is_struck_out():
    redact = Redactor({"SERVICE_TOKEN": "q7" * 20})
    event = rollout(tool_calls=[call("refused", f"no such key: {'q7' * 20}")])
    assert redact.batch([event], b"")[0].tool_calls[0]["cause"] == "no such key: ***"


INFOS = {
    "counted": ({"tool_calls": 3, "tool_calls_refused": 1}, (3, 1)),
    "nothing": ({}, (None, None)),
    "one": ({"tool_calls": 3}, (None, None)),
    "text": ({"tool_calls": "3", "tool_calls_refused": "1"}, (None, None)),
    "list": ({"tool_calls": [{"name": "add"}], "tool_calls_refused": []}, (None, None)),
    "fraction": ({"tool_calls": 2.5, "tool_calls_refused": 0}, (None, None)),
    "negative": ({"tool_calls": -1, "tool_calls_refused": 0}, (None, None)),
    "large": ({"tool_calls": 1 << 40, "tool_calls_refused": 0}, (None, None)),
    "flag": ({"tool_calls": True, "tool_calls_refused": False}, (None, None)),
    "null": ({"tool_calls": None, "tool_calls_refused": None}, (None, None)),
    "no mapping": ([3, 1], (None, None)),
}
"""What rollouts of schema 0004 may tell, and the numbers that it comes to."""


def test_rollouts_of_schema_0004_get_the_numbers_that_their_info_has(db_url):
    """An environment's own entry of that name is no number, or none that fits. Views that somebody made stay."""
    engine = connect(db_url, create=True)
    with engine.begin() as connection:
        for statements in frozen_statements("0004", engine.dialect.name):
            for statement in statements:
                connection.exec_driver_sql(statement)
        for statement in (
            "CREATE TABLE tenyson_schema (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
            "INSERT INTO tenyson_schema VALUES ('0004')",
            "CREATE VIEW mine AS SELECT sample_id, info FROM rollouts",
            "INSERT INTO prompts VALUES (1, '2+2=')",
            "INSERT INTO runs (id, run_id, attempt, job_type, task, status, config, output_dir, created_at, started_at) "
            "VALUES (1, 'run-1', 1, 'rl', 'echo', 'success', '{}', 'out', 0, 0)",
        ):
            connection.exec_driver_sql(statement)
        insert = sqlalchemy.text(
            "INSERT INTO rollout_records (id, run, attempt, phase, training, step, sample_id, group_id, prompt, completion, "
            "components, finish_reason, trained, tokens, info, created_at) VALUES (:id, 1, 1, 'rl', true, 1, :name, 'g', 1, "
            "'4', '{}', 'stop', true, 1, :info, 0)"
        )
        for number, (name, (info, _)) in enumerate(INFOS.items()):
            connection.execute(insert, {"id": number, "name": name, "info": json.dumps(info)})
    assert schema.migrate(engine) == ("0004", schema.HEAD)
    engine.dispose()
    found = rows(db_url, "SELECT sample_id, tool_calls, tool_calls_refused FROM rollouts")
    assert {row["sample_id"]: (row["tool_calls"], row["tool_calls_refused"]) for row in found} == {
        name: expected for name, (_, expected) in INFOS.items()
    }
    assert rows(db_url, "SELECT count(*) AS n FROM mine") == [{"n": len(INFOS)}]
    assert rows(db_url, "SELECT * FROM tool_calls") == []
