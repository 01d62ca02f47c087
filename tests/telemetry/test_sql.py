"""The SQL sink: the specification's tables, on SQLite and on PostgreSQL."""

import json
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy

from tenyson.errors import MissingDependencyError, TelemetryError
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.database.engine import open_database
from tenyson.telemetry.events import (
    AttemptBegan,
    EpochEnded,
    MetricsLogged,
    RolloutFinished,
    RunFinished,
    RunStarted,
)
from tenyson.telemetry.read.store import Store
from tenyson.telemetry.sinks.sql import SqlSink


def rows(db_url, query):
    """A user's own SQL against the database."""
    engine = open_database(db_url, create=False)
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(sqlalchemy.text(query)).mappings()]
    engine.dispose()
    return found


def started(run_id="run-1", job_type="sft", **fields):
    return RunStarted(
        run_id=run_id, job_type=job_type, task="echo", config={"a": 1}, output_dir="out", **fields
    )


def began(step, run_id="run-1"):
    return AttemptBegan(run_id=run_id, step=step)


def metrics(step, run_id="run-1", phase="sft", **values):
    return MetricsLogged(run_id=run_id, phase=phase, step=step, epoch=step / 10, values=values)


def rollout(**fields):
    return RolloutFinished(
        **{
            "run_id": "run-1",
            "phase": "rl",
            "training": True,
            "step": 3,
            "sample_id": "s1",
            "group": "3/s1",
            "prompt": "2+2=",
            "completion": "4",
            "reward": 1.5,
            "components": {"right": 1.0, "short": 0.5, "absent": None},
        }
        | fields
    )


def write(config, run_dir, events):
    telemetry = open_telemetry(config, run_dir)
    for event in events:
        telemetry.emit(event)
    telemetry.close()
    assert telemetry.muted == {}


@pytest.fixture
def record(make_config, tmp_path):
    """Writes events through the SQL sink alone."""

    def record(db_url, *events):
        write(make_config(telemetry={"db_url": db_url, "sinks": ["sql"]}), tmp_path / "run-1", events)

    return record


def test_sft_writes_into_sft_metrics(record, db_url):
    """Specification, telemetry: SFT's rows are in `sft_metrics`."""
    record(
        db_url, started(), metrics(1, loss=2.5, learning_rate=1e-3), metrics(2, eval_loss=2.0, runtime=9.0)
    )
    first, second = rows(
        db_url, "SELECT step, loss, eval_loss, learning_rate, metrics FROM sft_metrics ORDER BY step"
    )
    assert (first["step"], first["loss"], first["learning_rate"], first["eval_loss"]) == (1, 2.5, 1e-3, None)
    assert second["eval_loss"] == 2.0
    stored = second["metrics"]
    assert (json.loads(stored) if isinstance(stored, str) else stored) == {"eval_loss": 2.0, "runtime": 9.0}


def test_rl_writes_epoch_metrics_step_metrics_rollouts_and_generations(record, db_url):
    """Specification, telemetry: RL's loss and KL by epoch, and every rollout with phase "rl"."""
    ended = EpochEnded(run_id="run-1", phase="rl", epoch=1, step=3, loss=0.25, kl=None)
    record(
        db_url,
        started(job_type="rl"),
        metrics(3, phase="rl", loss=0.25, reward=1.5, kl=0.1),
        ended,
        rollout(),
    )
    assert rows(db_url, "SELECT epoch, loss, kl FROM epoch_metrics") == [
        {"epoch": 1, "loss": 0.25, "kl": None}
    ]
    assert rows(db_url, "SELECT step, reward, kl FROM step_metrics") == [
        {"step": 3, "reward": 1.5, "kl": 0.1}
    ]
    assert rows(db_url, "SELECT count(*) AS n FROM sft_metrics") == [{"n": 0}]
    (kept,) = rows(db_url, "SELECT phase, prompt, completion, reward, group_id, step FROM rollouts")
    assert kept == {
        "phase": "rl", "prompt": "2+2=", "completion": "4", "reward": 1.5, "group_id": "3/s1", "step": 3,
    }  # fmt: skip
    assert rows(db_url, "SELECT run_id, phase, prompt, completion FROM generations") == [
        {"run_id": "run-1", "phase": "rl", "prompt": "2+2=", "completion": "4"}
    ]
    with Store(db_url) as store:
        (read,) = store.rollouts("run-1")
    assert read["components"] == {"right": 1.0, "short": 0.5, "absent": None}


def test_training_evaluation_inside_rl_and_eval_jobs_can_be_told_apart(record, db_url):
    """`phase` names the job, `training` whether the rollout was trained on, `truncated` whether it was cut."""
    record(
        db_url,
        rollout(sample_id="trained", advantage=-0.5),
        rollout(sample_id="watched", training=False, finish_reason="length"),
        rollout(sample_id="measured", phase="eval", training=False, step=0, reward=True),
    )
    with Store(db_url) as store:
        assert [row["sample_id"] for row in store.rollouts("run-1", phase="rl", training=True)] == ["trained"]
        (watched,) = store.rollouts("run-1", phase="rl", training=False)
        assert (watched["sample_id"], watched["truncated"]) == ("watched", True)
        (measured,) = store.rollouts("run-1", phase="eval")
        assert measured["reward"] == 1.0
    by_phase = rows(db_url, "SELECT phase, count(*) AS n FROM generations GROUP BY phase ORDER BY phase")
    assert by_phase == [{"phase": "eval", "n": 1}, {"phase": "rl", "n": 2}]


def test_a_run_is_running_until_its_result_is_stored(record, db_url):
    """`runs` holds the state, `results` the JobResult."""
    record(db_url, started(total_steps=7))
    with Store(db_url) as store:
        run = store.run("run-1")
        assert (run.status, run.attempt, run.total_steps, run.finished_at) == ("running", 1, 7, None)
        assert run.config == {"a": 1}
    result = {"total_time_seconds": 2.0, "metrics": {"accuracy": 0.5}}
    record(db_url, started(), RunFinished(run_id="run-1", status="success", result=result))
    with Store(db_url) as store:
        run = store.run("run-1")
        assert (run.status, run.attempt, run.result) == ("success", 2, result)
        assert [run.run_id for run in store.runs()] == ["run-1"]
        assert store.run("run-2") is None


def test_steps_repeated_after_a_resume_stand_for_the_first_ones(record, db_url):
    """The curve has each step once, the latest attempt's; the raw rows of both attempts stay."""
    record(db_url, started(), began(0), *(metrics(step, loss=1.0) for step in (1, 2, 3, 4)))
    record(db_url, started(), began(2), *(metrics(step, loss=2.0) for step in (3, 4, 5)))
    with Store(db_url) as store:
        curve = [(row["step"], row["metrics"]["loss"]) for row in store.metrics("run-1")]
    assert curve == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]
    by_sql = rows(db_url, "SELECT step, loss FROM sft_metrics ORDER BY step")
    assert [(row["step"], row["loss"]) for row in by_sql] == curve
    assert rows(db_url, "SELECT count(*) AS n FROM metric_records") == [{"n": 7}]


def test_whatever_a_model_writes_can_be_stored(record, db_url):
    """NUL characters, half surrogates, NaN and infinities neither fail nor stop what follows."""
    odd = rollout(completion="a\0b\ud800c 🎲", reward=float("nan"), info={"x": float("inf"), "y": "\0"})
    record(db_url, odd, metrics(1, loss=float("nan")), rollout(sample_id="after"))
    with Store(db_url) as store:
        after, kept = store.rollouts("run-1")
        (row,) = store.metrics("run-1")
    assert after["sample_id"] == "after"
    assert kept["completion"].startswith("a�b")
    assert kept["completion"].endswith("c 🎲")
    assert float(kept["info"]["x"]) == float("inf")
    assert float(row["metrics"]["loss"]) != float(row["metrics"]["loss"])


def test_other_processes_see_a_step_within_a_second(make_config, sqlite_url, tmp_path):
    """Batches are at most a quarter of a second late, also while the run goes on."""
    sink = SqlSink(make_config(telemetry={"db_url": sqlite_url}), tmp_path)
    sink.write(metrics(1, loss=1.0))
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not rows(sqlite_url, "SELECT step FROM sft_metrics"):
        time.sleep(0.02)
    assert rows(sqlite_url, "SELECT step FROM sft_metrics") == [{"step": 1}]
    sink.close()


def test_sqlite_is_in_wal_mode(record, sqlite_url):
    """WAL lets readers read while a run writes."""
    record(sqlite_url, started())
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


WRITER = """
import sys
from pathlib import Path
from tenyson.config.schema import Config
from tenyson.telemetry.events import MetricsLogged, RolloutFinished, RunStarted
from tenyson.telemetry.sinks.sql import SqlSink
db_url, run_id, folder = sys.argv[1:]
config = Config(model={"name": "unused"}, run={"id": run_id}, telemetry={"db_url": db_url})
sink = SqlSink(config, Path(folder) / run_id)
sink.write(RunStarted(run_id=run_id, job_type="sft", task="echo", config={}, output_dir="out"))
for step in range(500):
    sink.write(MetricsLogged(run_id=run_id, phase="sft", step=step, values={"loss": 1.0}))
    sink.write(
        RolloutFinished(
            run_id=run_id, phase="rl", training=True, step=step, sample_id="s", group=f"{step}/s", prompt="p" * 600,
            completion="c" * 1200, reward=step % 2, components={},
        )
    )
sink.close()
"""


@pytest.mark.slow
def test_processes_that_create_and_fill_one_database_at_once_lose_nothing(db_url, tmp_path):
    """Eight runs start together on a database that is not there yet."""
    if db_url.startswith("postgresql"):
        pytest.importorskip("psycopg")
    names = [f"run-{number}" for number in range(8)]
    command = [sys.executable, "-c", WRITER, db_url]
    runs = [subprocess.Popen([*command, name, str(tmp_path)]) for name in names]
    assert [run.wait(timeout=240) for run in runs] == [0] * 8
    counts = rows(db_url, "SELECT run_id, count(*) AS n FROM sft_metrics GROUP BY run_id")
    assert {row["run_id"]: row["n"] for row in counts} == dict.fromkeys(names, 500)
    counts = rows(db_url, "SELECT run_id, count(*) AS n, sum(reward) AS total FROM rollouts GROUP BY run_id")
    assert {row["run_id"]: (row["n"], row["total"]) for row in counts} == dict.fromkeys(names, (500, 250.0))


@pytest.mark.slow
def test_a_writer_waits_while_another_process_holds_the_lock(make_config, sqlite_url, tmp_path):
    """A lock of four seconds delays rows; it loses none, and `write` does not wait for it."""
    sink = SqlSink(make_config(telemetry={"db_url": sqlite_url}), tmp_path)
    other = sqlite3.connect(
        sqlite_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(4.0, lambda: other.execute("COMMIT"))
    release.start()
    for step in range(100):
        sink.write(metrics(step, loss=1.0))
    assert other.in_transaction
    sink.close()
    release.join()
    other.close()
    assert rows(sqlite_url, "SELECT count(*) AS n FROM sft_metrics") == [{"n": 100}]


@pytest.mark.slow
def test_a_database_that_fails_later_gets_everything_once_it_is_back(
    make_config, sqlite_url, tmp_path, capfd
):
    """The run goes on, the warning comes once, no prompt is in it, and nothing is lost."""
    config = make_config(telemetry={"db_url": sqlite_url, "sinks": ["sql", "jsonl"]})
    telemetry = open_telemetry(config, tmp_path)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=30) as connection:
        connection.execute("ALTER TABLE rollout_records RENAME TO gone")
    for number in range(3):
        telemetry.emit(rollout(prompt="PRIVATE PROMPT", sample_id=f"s{number}"))
        time.sleep(0.5)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=30) as connection:
        connection.execute("ALTER TABLE gone RENAME TO rollout_records")
    telemetry.close()
    assert telemetry.muted == {}
    shown = capfd.readouterr().err
    assert shown.count("warning:") == 1
    assert "no such table" in shown
    assert "PRIVATE" not in shown
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 3
    assert rows(sqlite_url, "SELECT count(*) AS n FROM rollouts") == [{"n": 3}]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("quatsch", "database URL"),
        ("mysql://u@h/d", "not supported"),
        ("sqlite://", "memory"),
        ("sqlite:////proc/nowhere/t.db", "cannot be used"),
        ("postgresql://u@127.0.0.1:1/d", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_an_error_before_the_start(make_config, tmp_path, url, says):
    """One clear line before any model is loaded."""
    with pytest.raises(TelemetryError, match=says):
        open_telemetry(make_config(telemetry={"db_url": url}), tmp_path)


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "postgresql://u:hunter2@127.0.0.1:1/d"])
def test_the_password_of_a_url_is_in_no_error(url):
    """The command line takes URLs with passwords; it does not print them."""
    with pytest.raises(TelemetryError, match=r"h/d|127") as caught:
        Store(url)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(make_config, tmp_path):
    """Somebody's text file is not overwritten."""
    (tmp_path / "notes.txt").write_text("my notes\n" * 200)
    with pytest.raises(TelemetryError, match="not a database"):
        open_telemetry(make_config(telemetry={"db_url": f"sqlite:///{tmp_path}/notes.txt"}), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "my notes\n" * 200


def test_the_sql_sink_without_a_url_says_what_to_set(make_config, tmp_path):
    """A sink that is asked for but cannot work is an error, not silence."""
    with pytest.raises(TelemetryError, match=r"telemetry\.db_url"):
        open_telemetry(make_config(telemetry={"sinks": ["sql"]}), tmp_path)


@pytest.mark.slow
def test_a_missing_postgres_driver_names_the_pip_line(tmp_path):
    """Run where psycopg cannot be imported."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from tenyson.telemetry.database.engine import open_database\n"
        "from tenyson.errors import MissingDependencyError\n"
        "try: open_database('postgresql://u@127.0.0.1:1/d', create=True)\n"
        "except MissingDependencyError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "pip install 'tenyson-core[postgres]'" in done.stdout
    assert issubclass(MissingDependencyError, ImportError)


def test_reading_makes_no_database(tmp_path):
    """A misspelt path is an error, not an empty file."""
    with pytest.raises(TelemetryError, match="no such database"):
        Store(f"sqlite:///{tmp_path}/typo.db")
    assert list(tmp_path.iterdir()) == []
