"""`tenyson runs`, `tenyson show` and `tenyson stop`, through the real command line."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.fakes import forked

from tenyson.telemetry.events import RunFinished, RunStarted
from tenyson.telemetry.sinks.sql import SqlSink


@pytest.fixture
def tenyson(tmp_path):
    """Calls the command line in an empty folder."""

    def call(*arguments, **environment):
        clean = {name: value for name, value in os.environ.items() if name != "TENYSON_DB_URL"}
        return forked.tenyson(*arguments, cwd=tmp_path, env=clean | environment)

    return call


@pytest.fixture
def database(make_config, tmp_path):
    """Two runs in the default database: `early` failed, `late` is running."""
    url = f"sqlite:///{tmp_path}/tenyson_telemetry.db"
    result = {"total_time_seconds": 5.0, "metrics": {"eval_loss": 1.25}, "failure_reason": "out of memory"}
    for run_id, ago in (("late", 10), ("early", 100)):
        settings = {"telemetry": {"db_url": url}, "run": {"id": run_id}}
        sink = SqlSink(make_config(**settings), tmp_path / "outputs" / run_id)
        began = time.time() - ago
        config = {"model": {"name": "tiny-model"}, "training": {"learning_rate": 0.5}}
        sink.write(
            RunStarted(
                run_id=run_id,
                time=began,
                job_type="sft",
                task="echo",
                config=config,
                output_dir=f"outputs/{run_id}",
            )
        )
        if run_id == "early":
            sink.write(RunFinished(run_id="early", time=time.time() - 95, status="failed", result=result))
        sink.close()
    return url


@pytest.fixture
def job_folder(tmp_path):
    """A job folder of an evaluation that no database knows."""
    folder = tmp_path / "outputs" / "eval-1"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {name: tiny-model}\ntask: {name: echo}\nrun: {seed: 3}\n")
    metrics = {"win_rate": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100}}
    metadata = {"stopped_early": True, "stop_reason": "manual stop", "muted_sinks": {"sql": "disk full"}}
    (folder / "results.json").write_text(
        json.dumps({"job_type": "eval", "task": "echo", "metrics": metrics, "metadata": metadata})
    )
    result = {
        "run_id": "eval-1",
        "status": "success",
        "total_time_seconds": 3.0,
        "metrics": {"win_rate": 0.5},
    }
    (folder / "job_result.json").write_text(json.dumps(result))
    return folder


def test_runs_lists_the_newest_first(tenyson, database):
    """With status, time and the most telling number."""
    done = tenyson("runs")
    assert (done.returncode, done.stderr) == (0, "")
    header, late, early = done.stdout.splitlines()
    assert header.split() == ["run", "job", "task", "status", "started", "took", "result"]
    assert late.split()[:4] == ["late", "sft", "echo", "running"]
    assert early.split()[:4] == ["early", "sft", "echo", "failed"]
    assert early.split()[-4:] == ["5.0", "s", "eval_loss", "1.25"]


def test_runs_lists_job_folders_that_no_database_knows(tenyson, job_folder):
    """Telemetry in SQL is optional; a run is found without it."""
    done = tenyson("runs", "--json")
    assert done.returncode == 0
    (run,) = json.loads(done.stdout)
    assert (run["run_id"], run["job"], run["status"], run["metrics"]) == (
        "eval-1", "eval", "success", {"win_rate": 0.5},
    )  # fmt: skip


def test_runs_lists_both_and_keeps_to_the_limit(tenyson, database, job_folder):
    """The database's and the folders' runs in one order of time."""
    names = [run["run_id"] for run in json.loads(tenyson("runs", "--json").stdout)]
    assert sorted(names) == ["early", "eval-1", "late"]
    assert names.index("late") < names.index("early")
    assert len(json.loads(tenyson("runs", "--json", "--limit", "1").stdout)) == 1


def stored_with_folders(make_config, tmp_path, number):
    """Runs of the default database that ended well, each with its job folder; the last one began last."""
    url = f"sqlite:///{tmp_path}/tenyson_telemetry.db"
    for at in range(number):
        run_id = f"run-{at:02}"
        folder = tmp_path / "outputs" / run_id
        sink = SqlSink(make_config(telemetry={"db_url": url}, run={"id": run_id}), folder)
        began = time.time() - 1000 + at
        sink.write(
            RunStarted(
                run_id=run_id, time=began, job_type="sft", task="echo", config={}, output_dir=str(folder)
            )
        )
        result = {"total_time_seconds": 5.0, "metrics": {"loss": at}}
        sink.write(RunFinished(run_id=run_id, time=began + 5, status="success", result=result))
        sink.close()
        (folder / "config.yaml").write_text("task: {name: echo}\n")


@pytest.mark.slow
def test_a_run_that_the_database_knows_is_not_read_from_its_folder(tenyson, make_config, tmp_path):
    """However new the folder's files are, and however many runs there are: rows are the database's, and YAML is not
    even imported.
    """
    stored_with_folders(make_config, tmp_path, 4)
    runs = json.loads(tenyson("runs", "--json", "--limit", "2").stdout)
    assert [(run["run_id"], run["status"]) for run in runs] == [("run-03", "success"), ("run-02", "success")]
    code = "import sys; from tenyson.cli.main import main; main(['runs', '--limit', '2']); print('yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "False", done.stdout + done.stderr


def test_only_the_newest_folders_are_read_and_they_are_listed_among_the_databases_runs(
    tenyson, make_config, tmp_path
):
    """By the time of their configuration; a folder that is not listed is not looked into."""
    stored_with_folders(make_config, tmp_path, 2)
    for at, ago in (("old", 5000), ("new", 10), ("newest", 5)):
        folder = tmp_path / "outputs" / at
        folder.mkdir()
        (folder / "config.yaml").write_text("task: {name: other}\n")
        os.utime(folder / "config.yaml", (time.time() - ago,) * 2)
    names = [run["run_id"] for run in json.loads(tenyson("runs", "--json", "--limit", "3").stdout)]
    assert names == ["newest", "new", "run-01"]
    names = [run["run_id"] for run in json.loads(tenyson("runs", "--json", "--task", "other").stdout)]
    assert names == ["newest", "new", "old"]


def test_without_any_run_the_next_step_is_said(tenyson, tmp_path):
    """An empty folder is no error, and stays empty."""
    done = tenyson("runs")
    assert done.returncode == 0
    assert "tenyson run --task" in done.stdout
    assert json.loads(tenyson("runs", "--json").stdout) == []
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_was_named_and_is_missing_is_an_error(tenyson):
    """By option or by environment: status 2 and one line, not an empty list."""
    for done in (
        tenyson("runs", "--db-url", "sqlite:///typo.db"),
        tenyson("runs", TENYSON_DB_URL="sqlite:///typo.db"),
    ):
        assert done.returncode == 2
        assert "typo.db" in done.stderr
        assert "Traceback" not in done.stderr


def test_show_prints_metrics_with_intervals_and_what_went_wrong_with_telemetry(tenyson, job_folder):
    """Everything a person asks first about a run that ended."""
    done = tenyson("show", "eval-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "stopped early (manual stop)" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("win_rate"))
    assert row.split() == ["win_rate", "0.5", "0.4", "to", "0.6", "100"]
    assert "sink sql was off: disk full" in done.stdout
    assert "outputs/eval-1/results.json" in done.stdout
    assert (
        json.loads(tenyson("show", "eval-1", "--json").stdout)["results"]["metrics"]["win_rate"]["n"] == 100
    )


def test_show_of_a_failed_run_has_the_reason_the_log_and_the_command_that_resumes(
    tenyson, database, tmp_path
):
    """The last lines of the log, and a command to copy."""
    folder = tmp_path / "outputs" / "early"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "LATEST").write_text("step-3")
    (folder / "log.txt").write_text("".join(f"line {number}\n" for number in range(100)))
    done = tenyson("show", "early")
    assert "failed: out of memory" in done.stdout
    assert "training.learning_rate   0.5" in done.stdout
    assert "line 99" in done.stdout
    assert "line 80" not in done.stdout
    assert (
        "next: tenyson run --job sft --config outputs/early/config.yaml --run-id early --resume-from-checkpoint latest"
        in done.stdout
    )


def test_show_of_an_unknown_run_names_the_nearest(tenyson, database):
    """Status 2."""
    done = tenyson("show", "eraly")
    assert done.returncode == 2
    assert "did you mean early?" in done.stderr


def test_damaged_files_do_not_break_the_list(tenyson, job_folder):
    """Half a JSON file, as a full disk leaves it."""
    (job_folder / "job_result.json").write_text('{"run_id": "ev')
    (job_folder / "results.json").write_text("[1, 2]")
    (job_folder / "config.yaml").write_text("a: [")
    done = tenyson("runs")
    assert (done.returncode, done.stderr) == (0, "")
    assert "unfinished" in done.stdout


def test_stop_asks_a_run_to_stop(tenyson, database):
    """The same request as `python -m tenyson.core.control`, against the default database."""
    assert "run late ends after its current step" in tenyson("stop", "late").stdout
    assert "already been requested" in tenyson("stop", "late").stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv takes root's right to read everything")
def test_what_may_not_be_read_hides_nothing_else(tmp_path):
    """Folders, spools and files of another user: the runs are listed and shown with what can be read of them."""
    runs = {name: tmp_path / "outputs" / name for name in ("closed", "spooling", "unreadable", "saving")}
    for folder in runs.values():
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("task: {name: echo}\n")
    (runs["spooling"] / "spool").mkdir()
    (runs["spooling"] / "spool" / "0123-0.spool").write_text("x")
    (runs["saving"] / "checkpoints").mkdir()
    shut = [runs["closed"], runs["spooling"] / "spool" / "0123-0.spool", runs["unreadable"] / "config.yaml",
            runs["saving"] / "checkpoints"]  # fmt: skip
    for path in shut:
        path.chmod(0)

    def tenyson(*arguments):
        tool = Path(sys.executable).with_name("tenyson")
        drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*drop, tool, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60,
            env={name: value for name, value in os.environ.items() if name != "TENYSON_DB_URL"},
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done

    try:
        listed = json.loads(tenyson("runs", "--json").stdout)
        assert sorted(run["run_id"] for run in listed) == ["saving", "spooling", "unreadable"]
        for name in ("saving", "spooling", "unreadable"):
            assert "unfinished" in tenyson("show", name).stdout
        assert "requested by the file" in tenyson("stop", "spooling").stdout
        assert tenyson("show", "closed").returncode == 2
    finally:
        for path in shut:
            path.chmod(0o700)
