"""Before the first step there is nothing to save: a signal ends the job there at once, whatever it is doing, and the result says so."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.fakes.waiting import wait_for

HEAD = """
import hashlib, sys, time
from pathlib import Path
from tenyson.tasks import TaskPlugin
def here(): print("here", flush=True)
"""
TASKS = {
    "import": HEAD + "here()\ntime.sleep(600)\nclass Task(TaskPlugin): pass\n",
    "arguments": HEAD
    + "class Task(TaskPlugin):\n    def __init__(self):\n        here()\n        time.sleep(600)\n",
    "deaf": HEAD
    + """
while True:
    try:
        here()
        # One call into C that no handler interrupts.
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 400_000_000)
    except BaseException:
        pass
""",
    "samples": HEAD
    + """
class Task(TaskPlugin):
    def sft_samples(self, split, seed):
        here()
        time.sleep(600)
        yield
""",
}


def start(tmp_path, task, job="sft", **sections):
    (tmp_path / "task.py").write_text(TASKS[task])
    config = {
        "run": {"id": "run", "output_dir": str(tmp_path / "outputs")},
        "model": {"name": "none"},
        **sections,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [sys.executable, "-m", "tenyson.runner", "--job-type", job, "--config", str(tmp_path / "run.yaml"),
         "--task-module", str(tmp_path / "task.py")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.strip() == "here":
            return process
    raise AssertionError(process.stderr.read())


def ended(process, tmp_path, number, within):
    begun = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - begun < within
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    name = signal.Signals(number).name
    result = json.loads((tmp_path / "outputs" / "run" / "job_result.json").read_text())
    assert (result["status"], result["stop_reason"]) == ("stopped", name)
    assert f"ended by {name} before its first step" in result["failure_reason"]
    return errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("task", ["import", "arguments"])
def test_a_task_that_hangs_on_import_is_ended_at_once(tmp_path, task, number):
    """Or in its own beginning. Exit status 130, a result that is `stopped`, no stack trace."""
    process = start(tmp_path, task)
    errors = ended(process, tmp_path, number, 4)
    assert (
        f"{signal.Signals(number).name}: ending now; before the first step there is nothing to save" in errors
    )


@pytest.mark.slow
def test_a_call_into_c_and_code_that_catches_everything_keep_no_job_alive(tmp_path):
    """Python calls no handler meanwhile; the process ends some seconds later all the same."""
    process = start(tmp_path, "deaf")
    ended(process, tmp_path, signal.SIGTERM, 15)


@pytest.mark.slow
def test_a_second_signal_ends_it_without_waiting_for_anything(tmp_path):
    """As everywhere."""
    process = start(tmp_path, "deaf")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode in (130, 128 + signal.SIGTERM)


@pytest.mark.train
@pytest.mark.cold
def test_ctrl_c_on_this_machine_ends_a_job_that_still_imports_and_leaves_a_stopped_result(tmp_path):
    """Through the manager: nobody waits for the grace, which is for a step that is to be saved."""
    from tenyson.cloud.local.backend import LocalManager
    from tenyson.jobs.spec import JobSpec

    (tmp_path / "task.py").write_text(TASKS["import"])
    config = {"run": {"id": "run", "output_dir": str(tmp_path)}, "model": {"name": "none"}}

    class Hanging:
        def spec(self):
            return JobSpec("run", "sft", str(tmp_path / "task.py"), config)

    manager = LocalManager(tmp_path)
    log = tmp_path / "run" / "log.txt"

    def press():
        wait_for(lambda: log.exists() and "here" in log.read_text())
        signal.raise_signal(signal.SIGINT)

    import threading

    thread = threading.Thread(target=press)
    begun = time.monotonic()
    thread.start()
    result = manager.run(Hanging())
    thread.join()
    assert time.monotonic() - begun < 30
    assert (result.status, result.stop_reason) == ("stopped", "SIGTERM")


@pytest.mark.train
@pytest.mark.cold
def test_reading_samples_is_before_the_first_step_and_the_run_is_recorded_as_stopped(tmp_path, configure):
    """Whatever comes before training: its telemetry is closed, and says how the run ended."""
    sections = configure("run")
    process = start(
        tmp_path, "samples", **{key: sections[key] for key in ("model", "training") if key in sections}
    )
    ended(process, tmp_path, signal.SIGTERM, 15)
    events = [
        json.loads(line) for line in Path(tmp_path, "outputs/run/events.jsonl").read_text().splitlines()
    ]
    assert (events[-1]["event"], events[-1]["status"]) == ("RunFinished", "stopped")


def test_a_process_that_runs_a_job_and_has_other_work_gets_its_signals_back():
    """`runner.main` in a notebook or in a test leaves neither handlers nor a wake-up descriptor behind."""
    code = """
import signal, sys
from tenyson import runner
before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
flags = ["--job-type", "sft", "--config", "no-such-file.yaml", "--task-module", "no_task.py"]
assert runner.main(flags) == 2
assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
assert signal.set_wakeup_fd(-1) == -1
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
