"""A seeded sample of the long fault suites; `make soak` runs them whole, and docs/reference/faults.md has their figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.openenv.interpreter import make_interpreter

HERE = Path(__file__).parent


@pytest.mark.slow
def test_what_is_damaged_ends_in_no_stack_trace_and_in_the_right_status() -> None:
    """Configurations, experiment files, --set values, result files, spools and journal rows, some mutations of each."""
    done = subprocess.run(
        [sys.executable, HERE / "mutate.py", "--each", "15", "--seed", "100000"],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("0 wrong\n")


@pytest.mark.train
def test_training_that_is_killed_loses_no_event_that_was_handed_over(tmp_path: Path) -> None:
    """A kill soon after the first step and a late one; each event is there once, and a full second replay changes nothing."""
    command = [sys.executable, HERE / "kill_training.py", "--seeds", "2", "--first", "1051"]
    environ = os.environ | {"TENYSON_CACHE": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 kills lost nothing" in done.stdout


@pytest.mark.train
def test_a_training_that_is_killed_again_and_again_is_the_same_training() -> None:
    """Two kills of one GRPO run; every number, rollout and weight is that of the uninterrupted one."""
    command = [sys.executable, HERE / "kill_resume.py", "--kills", "2", "--seed", "1001"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 trainings differ" in done.stdout


@pytest.mark.train
def test_worlds_that_break_cost_their_own_rollouts_and_nothing_of_them_stays() -> None:
    """Four runs, the last of which can do nothing with its world: what is recorded is what was broken."""
    command = [sys.executable, HERE / "break_worlds.py", "--runs", "4", "--first", "16"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 runs, 0 wrong" in done.stdout


@pytest.mark.train
def test_an_openenv_server_that_breaks_costs_the_episodes_that_it_hit(shared_cache: Path) -> None:
    """Answers that break, and a server with three slots that is killed: what is recorded is what was broken."""
    python = make_interpreter(shared_cache / "openenv")
    command = [
        sys.executable,
        HERE / "break_openenv.py",
        "--runs",
        "2",
        "--first",
        "4140",
        "--python",
        python,
    ]
    environ = os.environ | {"TENYSON_CACHE": str(shared_cache)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs, 0 wrong" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("database", "most"), [("sqlite", (12, 6, 4)), ("postgres", (6, 3, 2))])
def test_a_controller_that_is_killed_or_stalled_starts_nothing_twice_and_loses_no_answer(
    database: str, most: tuple[int, int, int], request: pytest.FixtureRequest
) -> None:
    """Some points, some random moments and some stalls, each on a pipeline that fails, waits and is preempted."""
    more = ["--db-url", request.getfixturevalue("postgres_url")] if database == "postgres" else []
    command = [
        sys.executable,
        HERE / "kill_controller.py",
        "--points",
        str(most[0]),
        "--random",
        str(most[1]),
        "--stalls",
        str(most[2]),
        "--seed",
        "7",
    ]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"failed": []' in done.stdout


@pytest.mark.slow
def test_one_controller_drives_a_thousand_runs() -> None:
    """At most 300 MB, 20% of a core once all run, and 60 s of processor time until they do."""
    command = [sys.executable, HERE.parents[1] / "benchmarks/controller.py", "--idle-seconds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads(done.stdout)
    assert measured["runs"] == 1000
    assert measured["peak MB"] <= 300
    assert measured["share of a core while they run"] <= 0.2
    assert measured["processor s until then"] <= 60
