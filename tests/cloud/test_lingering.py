"""A job that has written its result and does not exit: its process is ended after a grace, and the result stands."""

import json
import subprocess
import sys
import time

import pytest
import yaml
from tests.fakes.lingering_job import RUNNER
from tests.fakes.waiting import wait_for

from tenyson.cloud.local.backend import LocalBackend, LocalManager
from tenyson.jobs.runtime.lingering import GRACE_VARIABLE, exit_grace


@pytest.fixture
def grace(monkeypatch):
    monkeypatch.setenv(GRACE_VARIABLE, "0.5")


def lingering(job, **args):
    made = job()
    spec = made.spec()
    spec.config["task"]["args"] = {"status": "success", **args}
    made.spec = lambda: spec
    return made


@pytest.mark.slow
def test_a_job_that_does_not_exit_is_a_success_if_its_result_says_so(job, tmp_path, grace):
    """Its pipeline does not hang; the log says what was done."""
    begun = time.monotonic()
    result = LocalManager(tmp_path, runner=RUNNER).run(lingering(job))
    assert time.monotonic() - begun < 20
    assert (result.status, result.metrics) == ("success", {"x": 1.0})
    assert "does not exit" in (tmp_path / "job" / "log.txt").read_text()
    handle = LocalBackend(tmp_path, RUNNER).reattach("job")
    wait_for(lambda: not LocalBackend(tmp_path, RUNNER)._alive(handle), seconds=20)


@pytest.mark.slow
@pytest.mark.parametrize(("status", "code"), [("stopped", 130), ("failed", 1)])
def test_a_stop_and_a_failure_stand_as_well(job, tmp_path, grace, status, code):
    """Whatever the result says: exit statuses are as if it had exited."""
    backend = LocalBackend(tmp_path, RUNNER)
    handle = backend.submit(lingering(job, status=status).spec())
    seen = wait_for(lambda: (seen := backend.poll(handle)).phase == "ended" and seen, seconds=20)
    assert seen.exit_code == code


def test_a_job_that_is_asked_to_end_after_its_result_and_hears_nothing_keeps_its_result(job, tmp_path):
    """It could not be stopped; the kill at the end of the grace takes nothing away."""
    backend = LocalBackend(tmp_path, RUNNER)
    handle = backend.submit(lingering(job, deaf=True).spec())
    log = tmp_path / "job" / "log.txt"
    wait_for(lambda: "written" in log.read_text())
    backend.cancel(handle, 0.5)
    seen = wait_for(lambda: (seen := backend.poll(handle)).phase == "ended" and seen, seconds=20)
    assert (seen.exit_code, seen.reason) == (0, None)


@pytest.mark.slow
def test_a_job_that_still_brings_its_telemetry_home_is_not_ended(job, tmp_path, grace):
    """A database may be away for a minute; the marker says that the job is at work."""
    result = LocalManager(tmp_path, runner=RUNNER).run(lingering(job, closing=True, seconds=4))
    assert result.status == "success"
    assert "does not exit" not in (tmp_path / "job" / "log.txt").read_text()


@pytest.mark.slow
def test_the_result_of_an_earlier_attempt_ends_nothing(job, tmp_path, grace):
    """Only what was written since this job began counts."""
    made = lingering(job, seconds=0)
    LocalManager(tmp_path, runner=RUNNER).run(made)
    slow = (sys.executable, "-c", "import time; time.sleep(3)")
    result = LocalManager(tmp_path, runner=slow).run(made)
    assert result.status == "failed"
    assert "it left no job_result.json" in result.failure_reason


def test_a_thread_of_the_tasks_own_code_keeps_no_runner_alive(tmp_path):
    """The runner ends itself, also where nobody supervises it, with its own exit status."""
    (tmp_path / "task.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), name='mine').start()\nx = 1\n"
    )
    config = {"run": {"id": "run", "output_dir": str(tmp_path)}, "model": {"name": "none"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    import os

    done = subprocess.run(
        [sys.executable, "-m", "tenyson.runner", "--job-type", "sft", "--config", str(tmp_path / "run.yaml"),
         "--task-module", str(tmp_path / "task.py")],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | {GRACE_VARIABLE: "0.5"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "threads of its own code (mine) kept its process" in done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 30.0), ("soon", 30.0), ("-1", 30.0), ("nan", 30.0), ("90", 90.0)]
)
def test_the_grace_is_a_number_of_seconds_or_the_default(monkeypatch, text, seconds):
    """No text of the environment is an error in a job's last moments."""
    monkeypatch.setenv(GRACE_VARIABLE, text)
    assert exit_grace() == seconds
    assert json.dumps(exit_grace())
