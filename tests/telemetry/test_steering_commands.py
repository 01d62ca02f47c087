"""`tenyson stop` and its kin, through the real command line: which run is meant, and whether it can still hear."""

import os
import sqlite3
import subprocess
import sys
import time

import pytest
from recording import finished, rows, started
from tests.fakes import forked

from tenyson.telemetry.sinks.sql import SqlSink


@pytest.fixture
def tenyson(tmp_path):
    """Calls the command line in a folder of its own; the default database is there."""

    def call(*arguments, status=0):
        clean = {name: value for name, value in os.environ.items() if name != "TENYSON_DB_URL"}
        done = forked.tenyson(*arguments, cwd=tmp_path, env=clean)
        assert "Traceback" not in done.stderr
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr if status else done.stdout

    return call


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/tenyson_telemetry.db"


@pytest.fixture
def record(make_config, tmp_path, url):
    """Stores the beginning of a run, and its end where a status is given."""

    def record(run_id, status=None, *, ago=5.0):
        sink = SqlSink(make_config(telemetry={"db_url": url}, run={"id": run_id}), tmp_path / "made" / run_id)
        sink.write(started(run_id, time=time.time() - ago))
        if status:
            sink.write(finished(run_id, status))
        sink.close()
        if ago > 60:
            with sqlite3.connect(tmp_path / "tenyson_telemetry.db") as connection:
                connection.execute("UPDATE attempts SET heartbeat_at = heartbeat_at - ?", (ago,))

    return record


def asked(url):
    query = "SELECT run_id, status FROM run_controls WHERE requested_at IS NOT NULL ORDER BY id"
    return [tuple(row.values()) for row in rows(url, query)]


def test_a_run_can_be_stopped_by_the_beginning_of_its_name(tenyson, record, url):
    """As `show`, `rollouts` and `metrics` name runs; where several begin so, they are named and none is asked."""
    record("sums-rl")
    record("words-rl-1")
    record("words-rl-2")
    assert "run sums-rl ends after its current step" in tenyson("stop", "sums-r")
    assert "words-rl-1" in tenyson("stop", "words", status=2)
    assert asked(url) == [("sums-rl", "pending")]


@pytest.mark.parametrize("verb", ["stop", "pause", "resume", "checkpoint"])
def test_a_run_that_nobody_knows_is_not_asked(tenyson, record, url, verb):
    """Status 2, the nearest name, and no row for a run that does not exist."""
    record("sums-rl")
    assert "did you mean sums-rl?" in tenyson(verb, "smus-rl", status=2)
    assert asked(url) == []


@pytest.mark.slow
@pytest.mark.parametrize("status", ["success", "stopped", "failed"])
def test_a_run_that_has_ended_is_not_asked(tenyson, record, url, status):
    """Nobody would ever answer the row; the second time says the same as the first."""
    record("sums-rl", status)
    for _ in range(2):
        assert f"run sums-rl has already ended ({status})" in tenyson("stop", "sums-rl", status=2)
    assert asked(url) == []


def test_a_run_without_a_sign_of_life_is_said_to_be_lost(tenyson, record, url):
    """The row is written, for heartbeats may be late; nothing is promised."""
    record("sums-rl", ago=600)
    for _ in range(2):
        said = tenyson("stop", "sums-rl")
        assert "no heartbeat" in said
        assert "if the run is alive" in said
        assert "ends after" not in said
    assert asked(url) == [("sums-rl", "pending")]


def test_a_run_that_only_its_folder_knows_is_asked_by_the_file(tenyson, record, url, tmp_path):
    """Its own configuration may name another database, or none."""
    record("another")
    folder = tmp_path / "outputs" / "rl-7"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {name: m}\n")
    assert "requested by the file" in tenyson("extend", "rl-", 5)
    assert (folder / "control").read_text() == "extend 5\n"
    assert "neither --key nor --attempt" in tenyson("stop", "rl-7", "--key", "k", status=2)
    assert asked(url) == []


def test_a_run_whose_folder_holds_its_result_is_not_asked_by_the_file(tenyson, record, tmp_path):
    """Nobody reads the file any more; a run that was started again since then does."""
    record("another")
    folder = tmp_path / "outputs" / "rl-7"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {name: m}\n")
    (folder / "job_result.json").write_text(
        '{"run_id": "rl-7", "status": "stopped", "total_time_seconds": 3}'
    )
    assert "run rl-7 has already ended (stopped)" in tenyson("stop", "rl-7", status=2)
    assert not (folder / "control").exists()
    later = time.time() + 10
    os.utime(folder / "config.yaml", (later, later))
    assert "requested by the file" in tenyson("stop", "rl-7")


def test_the_specified_command_refuses_extend_without_steps(record, url):
    """`python -m tenyson.core.control --verb extend` says which option is missing, and records nothing."""
    record("sums-rl")
    command = [
        sys.executable,
        "-m",
        "tenyson.core.control",
        "--run-id",
        "sums-rl",
        "--db-url",
        url,
        "--verb",
        "extend",
    ]
    for steps in ([], ["--steps", "0"]):
        done = subprocess.run([*command, *steps], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert "--steps" in done.stderr
    assert asked(url) == []


@pytest.mark.slow
def test_the_specified_command_says_each_time_that_the_run_has_ended(record, url):
    """A second request is not told as one that is still waited for."""
    record("sums-rl", "success")
    command = [sys.executable, "-m", "tenyson.core.control", "--run-id", "sums-rl", "--db-url", url]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0
        assert "has ended (success)" in done.stdout
