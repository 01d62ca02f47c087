"""Where runs are recorded: in the database that the configuration names, else in the pipeline's own; readers find both."""

import json
from dataclasses import replace
from uuid import uuid4

import pytest
from recording import finished, metrics, rollout, started
from tests.fakes.stand_in_job import RUNNER, StandInJob

from tenyson.cli.main import main
from tenyson.cloud.local.backend import LocalManager
from tenyson.config.load import dump_config
from tenyson.pipeline import Step, run_pipeline
from tenyson.pipeline.journal.journal import Journal
from tenyson.telemetry.build import open_telemetry


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def record(make_config, project):
    """Makes a run with its folder, recorded in a database of its own; the task tells which."""

    def make(run_id, url, task="echo"):
        config = make_config(run={"id": run_id}, telemetry={"db_url": url, "sinks": ["sql"]})
        folder = project / "outputs" / run_id
        telemetry = open_telemetry(config, folder, attempt_uid=uuid4().hex)
        began = replace(started(run_id), task=task, output_dir=str(folder))
        telemetry.emit(began, metrics(1, run_id), rollout(run_id=run_id), finished(run_id))
        telemetry.close()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(dump_config(config))
        (folder / "log.txt").write_text("said\n")

    return make


def _journal(url="sqlite:///./tenyson_telemetry.db"):
    with Journal(url) as journal:
        journal.create(
            "pipe", "pipe", "f", {}, {"a": {"spec": {"run_id": "r", "job_type": "rl"}, "needs": []}}
        )


READING = (
    "runs", "show run-1", "logs run-1", "metrics run-1", "rollouts run-1", "compare run-1 run-1", "lineage run-1",
    "export run-1 --to jsonl -o out.jsonl", "sql TABLE",
)  # fmt: skip


@pytest.mark.slow
def test_a_run_with_a_database_of_its_own_is_found_by_every_command(record, capsys):
    """By its folder, beside a database that holds the pipeline alone; the database that was read is named."""
    _journal()
    record("run-1", "sqlite:///./mine.db")
    for command in READING:
        arguments = ["SELECT run_id FROM runs" if word == "TABLE" else word for word in command.split()]
        assert main(arguments) == 0, (command, capsys.readouterr().err)
        captured = capsys.readouterr()
        assert captured.out, command
        if command != "logs run-1":
            assert "./mine.db" in captured.out + captured.err, command
    assert main(["show", "run-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["db_url"] == "sqlite:///./mine.db"


def test_the_first_seconds_of_a_project_are_no_error(project, capsys):
    """The pipeline is in its database and no run is yet: there is nothing to list, and a run that is asked for is unknown."""
    _journal()
    assert main(["runs"]) == 0
    assert "no runs here" in capsys.readouterr().out
    for command in ("show x", "metrics x", "rollouts x", "compare x y", "lineage x", "logs x"):
        assert main(command.split()) == 2
        said = capsys.readouterr().err
        assert "there is no run 'x' in ./tenyson_telemetry.db or outputs" in said, command
        assert "not a telemetry database" not in said
    assert main(["sql", "SELECT count(*) AS n FROM pipelines", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 1}]
    assert main(["sql", "SELECT count(*) FROM runs"]) == 2
    assert "No run has been recorded in this database yet" in capsys.readouterr().err


def test_runs_of_several_databases_are_read_side_by_side(record, capsys):
    """Listed together and compared with each other; a query that names no run says what it leaves out."""
    record("run-1", "sqlite:///./tenyson_telemetry.db")
    record("run-2", "sqlite:///./mine.db")
    assert main(["runs", "--json"]) == 0
    captured = capsys.readouterr()
    assert {run["run_id"] for run in json.loads(captured.out)} == {"run-1", "run-2"}
    assert "./mine.db" in captured.err
    assert main(["compare", "run-1", "run-2"]) == 0
    assert main(["metrics", "run-2", "--with", "run-1"]) == 0
    capsys.readouterr()
    assert main(["sql", "SELECT run_id FROM runs", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == [{"run_id": "run-1"}]
    assert "other runs are recorded in ./mine.db" in captured.err
    assert main(["runs", "--json", "--db-url", "sqlite:///./mine.db", "--output-dir", "nowhere"]) == 0
    assert [run["run_id"] for run in json.loads(capsys.readouterr().out)] == ["run-2"]


def test_of_two_runs_of_one_name_the_folders_is_meant(record, capsys):
    """The folder holds the latest, and its configuration says where that is recorded."""
    record("run-1", "sqlite:///./tenyson_telemetry.db", task="earlier")
    record("run-1", "sqlite:///./mine.db", task="later")
    record("run-2", "sqlite:///./mine.db")
    assert main(["show", "run-1"]) == 0
    said = capsys.readouterr().out
    assert "on task later" in said
    assert "./mine.db" in said


def test_a_query_asks_which_of_several_databases_is_meant(record, capsys):
    """Where the command line's own has no runs, and more than one other has some."""
    record("run-1", "sqlite:///./one.db")
    record("run-2", "sqlite:///./two.db")
    assert main(["sql", "SELECT 1"]) == 2
    said = capsys.readouterr().err
    assert "./one.db, ./two.db" in said or "./two.db, ./one.db" in said
    assert "--db-url" in said


def test_a_database_that_moved_with_its_project_is_found(record, project, monkeypatch, capsys):
    """And one that is away is told, with the run that needs it."""
    record("run-1", f"sqlite:///{project}/mine.db")
    record("run-2", f"sqlite:///{project}/away.db")
    moved = project / "moved"
    moved.mkdir()
    for name in ("outputs", "mine.db"):
        (project / name).rename(moved / name)
    (project / "away.db").unlink()
    monkeypatch.chdir(moved)
    assert main(["metrics", "run-1"]) == 0
    assert "./mine.db" in capsys.readouterr().err
    assert main(["metrics", "run-2"]) == 2
    said = capsys.readouterr().err
    assert "only its folder is known" in said
    assert "away.db" in said


@pytest.mark.slow
def test_a_pipeline_in_python_records_where_the_command_line_does(project):
    """In its own database, unless a configuration names another one, or none by null; no password gets into configurations."""
    from tenyson.config.schema import Config

    def run(url, **configs):
        steps = [
            Step(
                label,
                {
                    "run": {"id": label, "output_dir": "outputs"},
                    "task": {"args": {"do": "succeed"}},
                    **config,
                },
                StandInJob,
                None,
            )
            for label, config in configs.items()
        ]
        run_pipeline(steps, LocalManager(project / "outputs", runner=RUNNER), on_failure="abort", db_url=url)
        import yaml

        return {
            label: yaml.safe_load((project / "outputs" / label / "config.yaml").read_text()).get("telemetry")
            for label in configs
        }

    found = run(
        None,
        one={},
        two={"telemetry": {"db_url": "sqlite:///./mine.db"}},
        three={"telemetry": {"db_url": None}},
    )
    assert found == {
        "one": {"db_url": "sqlite:///./tenyson_telemetry.db"},
        "two": {"db_url": "sqlite:///./mine.db"},
        "three": {"db_url": None},
    }
    from tenyson.pipeline.graph.recording import recorded_in
    from tenyson.pipeline.graph.step import as_steps

    made = [Step("one", Config(model={"name": "x"}), StandInJob, None)]
    (step,) = recorded_in(as_steps(made), made, "postgresql://h/d")
    assert step.config["telemetry"]["db_url"] == "postgresql://h/d"
    (step,) = recorded_in(as_steps(made), made, "postgresql://u:secret@h/d")
    assert step.config["telemetry"]["db_url"] is None


def test_tenyson_runs_lists_what_run_pipeline_left(project, capsys):
    """Its jobs are found by their folders also where they recorded nothing in SQL."""
    job = {"run": {"id": "one", "output_dir": "outputs"}, "task": {"args": {"do": "succeed"}}}
    run_pipeline(
        [Step("one", job, StandInJob, None)], LocalManager(project / "outputs", runner=RUNNER), ask=None
    )
    capsys.readouterr()
    assert main(["runs", "--json"]) == 0
    assert [run["run_id"] for run in json.loads(capsys.readouterr().out)] == ["one"]
    assert main(["show", "one"]) == 0
    assert main(["metrics", "one"]) == 2
    assert "only its folder is known" in capsys.readouterr().err
