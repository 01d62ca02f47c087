"""python -m tenyson.runner: the specification's flags, one clear line for a mistake, a result whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.fakes.forked import runner

TASKS = Path(__file__).parents[1] / "tasks"


@pytest.fixture
def write(tmp_path, configure):
    """Writes a configuration file and returns its path."""

    def make(run_id: str, **sections) -> str:
        path = tmp_path / f"{run_id}.yaml"
        path.write_text(yaml.safe_dump(configure(run_id, **sections)))
        return str(path)

    return make


def test_help_names_exactly_the_flags_of_the_specification():
    """Backends build this command line; nothing may be missing or renamed."""
    from tenyson.runner import parser

    flags = {flag for action in parser()._actions for flag in action.option_strings} - {"-h", "--help"}
    assert flags == {"--job-type", "--config", "--task-module", "--resume-from-checkpoint"}


@pytest.mark.train
def test_an_evaluation_runs_from_a_file_path(write, tmp_path):
    """--task-module takes a path to a Python file; results land in the run's folder, exit status 0."""
    command = [sys.executable, "-m", "tenyson.runner", "--job-type", "eval", "--config", write("run")]
    done = subprocess.run(
        [*command, "--task-module", TASKS / "echo_task.py"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "outputs" / "run" / "job_result.json").read_text())
    assert result["status"] == "success"
    assert "accuracy" in result["metrics"]


@pytest.mark.train
def test_a_json_configuration_and_a_module_class_work_too(tmp_path, configure, monkeypatch):
    """The same schema in JSON; the task as module.path:ClassName."""
    from tenyson.runner import make_job

    monkeypatch.syspath_prepend(TASKS)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(configure("run")))
    result = make_job("eval", str(path), "echo_task:EchoTask").run()
    assert result.status == "success"
    assert "accuracy" in result.metrics


@pytest.mark.train
def test_resume_from_checkpoint_continues_training(write, tmp_path, configure, echo):
    """The flag goes before the configuration's key."""
    from tenyson.jobs.sft import SFTJob

    task = str(TASKS / "echo_task.py")
    training = {"max_steps": 4, "save_steps": 2, "batch_size": 4}
    SFTJob(configure("one", training=training), echo).run()
    checkpoint = tmp_path / "outputs" / "one" / "checkpoints" / "step-2"
    second = runner(
        *("--job-type", "sft", "--config", write("two", training=training), "--task-module", task),
        *("--resume-from-checkpoint", str(checkpoint)),
    )
    assert second.returncode == 0, second.stderr
    lines = [json.loads(line) for line in (tmp_path / "outputs/two/events.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["event"] == "MetricsLogged" and "loss" in line["values"]]
    assert steps == [3, 4]


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("nowhere.py", "nowhere.py"),
        ("no.such.module:Task", "no.such.module"),
        ("json:JSONDecoder", "JSONDecoder"),
        ("empty.py", "no TaskPlugin"),
        ("two.py", "One, Two"),
        ("raises.py", "boom on import"),
    ],
)
def test_a_task_module_that_cannot_be_used_gets_one_line(write, tmp_path, task, says):
    """Missing, none, several, or raising on import: one clear line, exit status 2, no stack trace."""
    head = "from tenyson.tasks import TaskPlugin\n"
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "two.py").write_text(head + "class One(TaskPlugin): pass\nclass Two(TaskPlugin): pass\n")
    (tmp_path / "raises.py").write_text(head + "raise RuntimeError('boom on import')\n")
    module = str(tmp_path / task) if task.endswith(".py") else task
    done = runner("--job-type", "eval", "--config", write("run"), "--task-module", module)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_resuming_an_evaluation_is_refused(write):
    """The flag is for SFT and RL only."""
    done = runner(
        *("--job-type", "eval", "--config", write("run"), "--task-module", str(TASKS / "echo_task.py")),
        *("--resume-from-checkpoint", "latest"),
    )
    assert done.returncode == 2
    assert "eval has no checkpoints" in done.stderr


@pytest.mark.train
def test_a_task_that_raises_leaves_a_failed_result_that_names_its_line(write, tmp_path):
    """An exception of the user's code is a mistake of the user: the line is named, exit status 2."""
    config = write("run", task={"args": {"break_at": 3}})
    done = runner("--job-type", "sft", "--config", config, "--task-module", str(TASKS / "echo_task.py"))
    assert done.returncode == 2
    result = json.loads((tmp_path / "outputs" / "run" / "job_result.json").read_text())
    assert result["status"] == "failed"
    for said in (done.stderr, result["failure_reason"]):
        assert "sft_samples('train') of the task echo raises after 3 samples" in said
        assert "RuntimeError: the task breaks here" in said
        assert "echo_task.py:27" in said


@pytest.mark.train
def test_ctrl_c_ends_training_with_a_checkpoint(write, tmp_path):
    """The step is finished, everything is saved, the result says stopped, and the exit status is 130.

    SIGTERM, also during an evaluation, is in test_known_failures.py.
    """
    config = write("run", training={"max_steps": 100_000, "batch_size": 4, "epochs": 100_000})
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tenyson.runner", "--job-type", "sft", "--config", config),
            *("--task-module", str(TASKS / "echo_task.py")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    events = tmp_path / "outputs" / "run" / "events.jsonl"
    deadline = time.monotonic() + 120
    while not (events.exists() and "MetricsLogged" in events.read_text()):
        assert time.monotonic() < deadline, "training never began"
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    folder = tmp_path / "outputs" / "run"
    result = json.loads((folder / "job_result.json").read_text())
    assert result["status"] == "stopped"
    latest = (folder / "checkpoints" / "LATEST").read_text().strip()
    step = json.loads((folder / "checkpoints" / latest / "trainer_state.json").read_text())["global_step"]
    assert 0 < step < 100_000
    metadata = json.loads((folder / "results.json").read_text())["metadata"]
    assert metadata["stop_reason"] == "SIGINT"
    assert metadata["steps"] == step
