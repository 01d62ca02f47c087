"""Pipelines begun with the release before: this one attaches to them, finds them by what they ask for, and ends them.

`before/` holds a project as that release left it: `experiment.yaml` was run, its controller was killed while a failed evaluation waited
for an answer; `script.py` was interrupted during its second step. The database is a dump of SQLite.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tenyson.telemetry.database.version import HEAD

HERE = Path(__file__).with_name("before")
TENYSON = [sys.executable, "-c", "import sys; from tenyson.cli.main import main; sys.exit(main())"]


class Restored:
    """The recorded project in another folder."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(HERE / "project", folder)
        with closing(sqlite3.connect(folder / "tenyson_telemetry.db")) as database:
            database.executescript((HERE / "database.sql").read_text(encoding="utf-8"))
            database.commit()

    def type(self, *words):
        environment = {name: value for name, value in os.environ.items() if name != "TENYSON_DB_URL"}
        environment |= {"COLUMNS": "200", "TENYSON_CACHE": str(self.folder.parent / "cache")}
        done = subprocess.run(
            words, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=300,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def tenyson(self, *words):
        return self.type(*TENYSON, *words)

    def query(self, text):
        with closing(sqlite3.connect(self.folder / "tenyson_telemetry.db")) as database:
            return database.execute(text).fetchall()

    def attempts(self, pipeline):
        return self.query(
            f"SELECT label, attempt, state FROM pipeline_attempts WHERE pipeline_id = '{pipeline}' ORDER BY started_at"
        )


@pytest.fixture
def restored(tmp_path):
    return Restored(tmp_path / "reverse")


@pytest.mark.train
@pytest.mark.slow
def test_a_pipeline_of_the_release_before_is_attached_and_ended(restored):
    """What is done is kept, the open question is answered, and the rest runs; paths are those of the folder of now."""
    assert restored.attempts("before") == [("sft", 1, "DONE"), ("after", 1, "FAILED")]
    # Its telemetry has an older schema, which `tenyson runs` and the jobs say.
    status, told, said = restored.tenyson("telemetry", "migrate")
    assert (status, f"schema 0002 -> {HEAD}" in told + said) == (0, True), told + said
    (restored.folder / "repaired").touch()
    status, _, said = restored.tenyson("decide", "before", "after", "restart")
    assert status == 0, said
    status, told, said = restored.tenyson("attach", "before", "--json")
    assert status == 0, said
    assert "the project was moved from /home/ada/projects/reverse" in said
    outcome = json.loads(told)
    assert (outcome["pipeline"], outcome["status"], outcome["title"]) == ("before", "success", "before")
    assert [step["label"] for step in outcome["steps"]] == ["sft", "after", "cold"]
    assert Path(outcome["report"]).name == "report.md"
    assert restored.attempts("before") == [
        ("sft", 1, "DONE"),
        ("after", 1, "FAILED"),
        ("after", 2, "DONE"),
        ("cold", 1, "DONE"),
    ]
    assert restored.query("SELECT count(*) FROM pipeline_decisions WHERE answer IS NULL") == [(0,)]
    status, told, said = restored.tenyson("runs", "--json")
    assert status == 0, said
    runs = {one["run_id"]: one["status"] for one in json.loads(told)}
    assert {"before-sft", "before-after", "before-cold"} <= runs.keys()
    assert runs["before-cold"] == "success"


def test_the_same_command_finds_the_pipeline_of_the_release_before(restored):
    """By what it asks for: its name was not given. The answer ends it, so that no job is run here."""
    status, _, said = restored.tenyson("decide", "before", "after", "abort")
    assert status == 0, said
    status, _, said = restored.tenyson("run", "experiment.yaml")
    assert status == 1, said
    assert "before asks for the same and is not over: continuing it" in said
    assert restored.query("SELECT status FROM pipelines WHERE id = 'before'") == [("failed",)]
    assert len(restored.query("SELECT id FROM pipelines")) == 2


@pytest.mark.slow
def test_a_script_ends_the_pipeline_that_it_has_begun_with_the_release_before(restored):
    """It takes its unfinished pipeline over: nothing that is done runs again."""
    (restored.folder / "repaired").touch()
    [(name,)] = restored.query("SELECT id FROM pipelines WHERE id != 'before'")
    status, told, said = restored.type(sys.executable, "script.py")
    assert status == 0, said
    assert told.split() == [name, "success"]
    assert restored.attempts(name) == [
        ("train", 1, "DONE"),
        ("measure", 1, "STOPPED"),
        ("measure", 2, "DONE"),
    ]
