"""Damaged rows of the journal: every command names the row and ends with status 2; none waits, and none shows a stack trace."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from tenyson.cli.main import main
from tenyson.errors import DamagedRowError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.journal.lease import Lease, this_process

TASK = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A database with a pipeline of two steps: the first one failed and was decided on, the second one was not started."""
    folder = tmp_path_factory.mktemp("journal")
    spec = JobSpec("p-one", "sft", TASK, {"run": {"id": "p-one", "output_dir": "outputs"}})
    steps = {
        label: Definition(label, spec, needs).to_json() for label, needs in (("one", ()), ("two", ("one",)))
    }
    plan = {
        "backend": {"name": "local", "settings": {}},
        "output_dir": "outputs",
        "sources": {},
        "policy": {},
    }
    with Journal(f"sqlite:///{folder}/j.db") as journal:
        for name in ("p", "other"):
            journal.create(name, "a title", "f", plan, steps)
            lease = Lease.acquire(journal, name)
            with journal.entry(name, lease.fence) as entry:
                entry.intend("one", 1, f"token-{name}", spec, {"job": "sft"}, "hash")
                result = JobResult("p-one", "failed", 1.0, failure_reason="the disk is full")
                entry.wait("one", 1, result, None, ("restart", "abort"))
                entry.decided("one", "FAILED")
                entry.status("failed")
            lease.release()
    return folder / "j.db"


@pytest.fixture
def damaged(whole, tmp_path, monkeypatch, capsys):
    """Status and output of a command on a copy of the database with one statement executed in it."""
    monkeypatch.chdir(tmp_path)

    def run(statement, *words, values=()):
        shutil.copy(whole, tmp_path / "tenyson_telemetry.db")
        with sqlite3.connect(tmp_path / "tenyson_telemetry.db") as database:
            database.execute("PRAGMA ignore_check_constraints = ON")
            database.execute("DROP TRIGGER pipeline_first_answer")
            database.execute(statement, values)
        database.close()

        def too_long(*_):
            raise AssertionError(f"{words} hung")

        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(20)
        try:
            status = main(list(words))
        finally:
            signal.alarm(0)
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        return status, told.out, told.err

    return run


COMMANDS = [
    ("attach", "p"),
    ("attach", "p", "--again"),
    ("pipelines", "p"),
    ("report", "p"),
    ("why", "one", "--pipeline", "p"),
]
DAMAGES = [
    ("UPDATE pipelines SET created_at = 'yesterday' WHERE id = 'p'", (), "pipelines, pipeline 'p': created_at: expected a number, not the text 'yesterday'"),
    ("UPDATE pipelines SET plan = ? WHERE id = 'p'", (DEEP,), "pipelines, pipeline 'p': plan: is nested too deeply"),
    ("UPDATE pipelines SET plan = ? WHERE id = 'p'", (b"\xff\xfe",), "plan: expected JSON, not an object of type bytes"),
    ("UPDATE pipelines SET plan = '{\"backend\": 3}' WHERE id = 'p'", (), "plan.backend: expected a mapping, not the number 3"),
    ("UPDATE pipelines SET status = 'fine' WHERE id = 'p'", (), "status: expected one of running, success, stopped, failed"),
    ("UPDATE pipelines SET title = CAST(X'ff61' AS TEXT) WHERE id = 'p'", (), "title: expected text"),
]  # fmt: skip
STEP_DAMAGES = [
    ("UPDATE pipeline_steps SET definition = '{nonsense' WHERE pipeline_id = 'p' AND label = 'one'", (), "pipeline_steps, pipeline 'p', step 'one': definition: is no JSON"),
    ("UPDATE pipeline_steps SET state = 'LOST' WHERE pipeline_id = 'p' AND label = 'two'", (), "pipeline 'p', step 'two': state: expected one of"),
    ("UPDATE pipeline_steps SET not_before = 1e300 WHERE pipeline_id = 'p'", (), "is more than a week after updated_at"),
]  # fmt: skip
ATTEMPT_DAMAGES = [
    ("UPDATE pipeline_attempts SET started_at = ? WHERE pipeline_id = 'p'", (b"1",), "pipeline_attempts, pipeline 'p', step 'one', attempt 1: started_at: expected a number, not an object of type bytes"),
    ("UPDATE pipeline_attempts SET result = '[1]' WHERE pipeline_id = 'p'", (), "result: expected a mapping, not a list"),
    ("UPDATE pipeline_attempts SET spec = '{\"run_id\": 4}' WHERE pipeline_id = 'p'", (), "spec.run_id: expected text, not the number 4"),
    ("UPDATE pipeline_attempts SET handle = ? WHERE pipeline_id = 'p'", (DEEP,), "handle: is nested too deeply"),
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("statement", "values", "says"), [*DAMAGES, *ATTEMPT_DAMAGES], ids=lambda value: str(value)[:40]
)
def test_each_command_names_the_damaged_row(damaged, words, statement, values, says):
    """Text for a time, bytes, other types, deep JSON and text that is no UTF-8: status 2 and the place."""
    status, _, told = damaged(statement, *words, values=values)
    assert status == 2
    assert says in told


@pytest.mark.parametrize("words", [*COMMANDS[:3], ("report", "p")], ids=" ".join)
@pytest.mark.parametrize(("statement", "values", "says"), STEP_DAMAGES, ids=lambda value: str(value)[:40])
def test_a_damaged_step_is_named(damaged, words, statement, values, says):
    """Before anything is started; a time to start that never comes is a damage as well."""
    status, _, told = damaged(statement, *words, values=values)
    assert status == 2
    assert says in told


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM pipeline_attempts WHERE pipeline_id = 'p'", "pipeline_attempts has no attempt 1 of it"),
        ("UPDATE pipeline_decisions SET label = 'three' WHERE pipeline_id = 'p'", "step 'three': p has no such step"),
        ("UPDATE pipeline_decisions SET choices = '\"restart\"' WHERE pipeline_id = 'p'", "choices: expected a list"),
        ("UPDATE pipeline_decisions SET answer = 'perhaps' WHERE pipeline_id = 'p'", "answer: expected one of resume"),
        ("UPDATE pipeline_steps SET state = 'RUNNING' WHERE pipeline_id = 'p' AND label = 'one'", "has no handle"),
        ("UPDATE pipeline_steps SET definition = replace(definition, '\"needs\": []', '\"needs\": [\"two\"]')", "in a circle: one, two"),
        ("UPDATE pipelines SET lease_until = 1e15, holder = '{\"host\": \"elsewhere\", \"pid\": 1}' WHERE id = 'p'", "more than two days from now"),
        ("UPDATE pipelines SET lease_until = 'soon' WHERE id = 'p'", "lease_until: expected a number, not the text 'soon'"),
        ("UPDATE pipelines SET holder = '[]', lease_until = 1 WHERE id = 'p'", "holder: expected a mapping, not a list"),
        ("UPDATE pipelines SET fence = 'x' WHERE id = 'p'", "fence: expected a whole number, not the text 'x'"),
        ("UPDATE pipelines SET fence = 9223372036854775807 WHERE id = 'p'", "fence: 9223372036854775807 is no count"),
        ("UPDATE pipeline_steps SET attempt = -5 WHERE pipeline_id = 'p' AND label = 'one'", "attempt: -5 is no count"),
        ("UPDATE pipelines SET plan = replace(plan, '\"settings\": {}', '\"settings\": {\"a\": 1}')", "plan.backend.settings"),
    ],
)  # fmt: skip
def test_attach_again_does_not_wait_for_rows_that_do_not_fit(damaged, statement, says):
    """A missing attempt, a question of another pipeline, a circle, a lease for ever: named, and nothing is started."""
    statement = statement.replace('": ', '":')  # as the journal writes JSON
    status, _, told = damaged(statement, "attach", "p", "--again")
    assert status == 2
    assert says in told


def test_a_waiting_step_whose_question_is_anothers_is_named(damaged):
    """Nobody could answer it, so a controller would wait for ever."""
    damaged("UPDATE pipeline_decisions SET pipeline_id = 'other' WHERE pipeline_id = 'p'", "pipelines")
    with sqlite3.connect("tenyson_telemetry.db") as database:
        database.execute(
            "UPDATE pipeline_steps SET state = 'WAITING_HUMAN' WHERE pipeline_id = 'p' AND label = 'one'"
        )
    database.close()
    assert main(["attach", "p"]) == 2


def test_pipelines_lists_the_others_and_names_the_damaged_one(damaged):
    """One damaged row hides nothing else; the status says that something is wrong."""
    status, out, told = damaged("UPDATE pipelines SET fence = 'x' WHERE id = 'p'", "pipelines")
    assert status == 2
    assert "other" in out
    assert "pipelines, pipeline 'p': fence" in told
    status, out, told = damaged(
        "UPDATE pipeline_steps SET attempt = 'x' WHERE pipeline_id = 'p'", "pipelines", "--json"
    )
    assert status == 2
    assert [one["pipeline"] for one in json.loads(out)] == ["other"]


def test_a_damaged_pipeline_does_not_keep_another_one_from_its_report(damaged):
    """Rows of others are left out where many are read."""
    assert (
        damaged(
            "UPDATE pipeline_attempts SET spec = '3' WHERE pipeline_id = 'p'",
            "why",
            "one",
            "--pipeline",
            "other",
        )[0]
        == 0
    )
    assert damaged("UPDATE pipelines SET plan = '3' WHERE id = 'p'", "pipelines", "other")[0] == 0


def test_a_lease_with_a_damaged_row_is_not_taken(damaged, tmp_path):
    """In Python too: one error that names the row."""
    damaged("UPDATE pipelines SET lease_until = 'soon' WHERE id = 'p'", "pipelines")
    with (
        Journal(f"sqlite:///{tmp_path}/tenyson_telemetry.db") as journal,
        pytest.raises(DamagedRowError, match=r"pipelines, pipeline 'p': lease_until"),
    ):
        Lease.acquire(journal, "p", holder=this_process())
