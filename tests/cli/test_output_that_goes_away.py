"""Output that goes away: a reader that leaves, a full disk, a terminal that was closed. Printing never decides anything."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.stand_in_job import RUNNER

ROOT = Path(__file__).parents[2]
TENYSON = str(Path(sys.executable).with_name("tenyson"))

EXPERIMENT = """\
name: two
shared:
  model: {name: nobody/model}
  task: {module: ./a_task.py}
steps:
  - {label: first, job: sft}
  - {label: second, job: sft}
"""
TASK = """\
from tenyson.tasks import Metric, Reward, Sample, TaskPlugin

print("a task that prints when it is imported, ✓")


class ATask(TaskPlugin):
    name = "a"

    def sft_samples(self, split, seed):
        yield Sample(id="1", prompt="a", completion="b")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An experiment of two steps, played by a runner that trains nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("exp.yaml").write_text(EXPERIMENT)
    Path("a_task.py").write_text(TASK)
    Path("tenyson.yaml").write_text(f"backend: {{local: {{runner: {json.dumps(list(RUNNER))}}}}}\n")
    return tmp_path


def gone_pipe():
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def gone_terminal():
    """A terminal that was closed: what is written to it fails with EIO."""
    master, slave = pty.openpty()
    os.close(master)
    return slave


def full_disk():
    """What is written to it fails with ENOSPC."""
    return os.open("/dev/full", os.O_WRONLY)


def call(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
    return subprocess.run(
        arguments, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, start_new_session=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("gone", [gone_pipe, gone_terminal, full_disk])
def test_a_controller_whose_output_is_gone_runs_all_steps(folder, gone):
    """The exit status is the pipeline's: neither stdout nor stderr has a say in it."""
    descriptor = gone()
    done = call(TENYSON, "run", "exp.yaml", "--run-id", "p", stdout=descriptor, stderr=descriptor)
    assert done.returncode == 0
    data = json.loads(call(TENYSON, "pipelines", "p", "--json").stdout)
    assert [step["state"] for step in data["steps"]] == ["DONE", "DONE"]


@pytest.mark.slow
def test_a_controller_outlives_its_terminal(folder):
    """Its window is closed, or the connection ends: SIGHUP stops no pipeline, and the later steps run."""
    process, terminal = pty.fork()
    if not process:
        os.execv(TENYSON, [TENYSON, "run", "exp.yaml", "--run-id", "p"])
    while not Path("outputs/p-first/process.json").exists():
        os.read(terminal, 1)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    data = json.loads(call(TENYSON, "pipelines", "p", "--json").stdout)
    assert [step["state"] for step in data["steps"]] == ["DONE", "DONE"]


@pytest.mark.slow
def test_closed_standard_streams_are_not_taken_by_the_next_file(folder):
    """`>&- 2>&-`: else a database would be opened as descriptor 2, and a child's error message written into it."""
    done = call("/bin/sh", "-c", f"{TENYSON} run exp.yaml --run-id p >&- 2>&-")
    assert done.returncode == 0
    assert Path("tenyson_telemetry.db").read_bytes().startswith(b"SQLite format 3")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["pipelines"], ["presets"], ["--help"], ["completion", "bash"]])
def test_a_reading_command_whose_reader_left_ends_with_0(folder, arguments):
    """As `tenyson runs | head` does, with nothing on stderr."""
    if arguments == ["pipelines"]:
        call(TENYSON, "run", "exp.yaml", "--run-id", "p")
    for gone in (gone_pipe, gone_terminal):
        done = call(TENYSON, *arguments, stdout=gone())
        assert (done.returncode, done.stderr) == (0, "")


def test_a_reading_command_on_a_full_disk_says_so_in_one_line(folder):
    """What was asked for is not there: that is an error, and no stack trace."""
    done = call(TENYSON, "presets", "--json", stdout=full_disk())
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: standard output cannot be written: No space left on device"
    assert "Traceback" not in done.stderr


SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tenyson.cloud.local.backend import LocalManager
from tenyson.cloud.watch.follow import PlainFollower
from tenyson.pipeline import run_pipeline
from tests.fakes.stand_in_job import RUNNER, StandInJob

class Odd(PlainFollower):
    def line(self, text):
        raise OSError(28, "No space left on device")

def steps():
    for label, do in (("first", "crash"), ("second", "succeed")):
        yield label, StandInJob({"run": {"id": label, "output_dir": "outputs"}, "task": {"args": {"do": do}}}, None)

manager = LocalManager("outputs", runner=RUNNER, follower=Odd() if sys.argv[2] == "odd" else None)
results = [manager.run(job) for _, job in steps()]
Path("said.json").write_text(json.dumps([[one.status, one.failure_reason] for one in results]))
import os; os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gone", "follower"), [(gone_pipe, "plain"), (full_disk, "plain"), (full_disk, "odd")]
)
def test_a_manager_whose_output_is_gone_returns_the_jobs_own_results(folder, gone, follower):
    """Also where a failure is printed in red, and where a follower of one's own raises: that is not the cloud's error."""
    Path("script.py").write_text(SCRIPT)
    descriptor = gone()
    done = call(sys.executable, "script.py", str(ROOT), follower, stdout=descriptor, stderr=descriptor)
    assert done.returncode == 0
    (failed, why), (succeeded, nothing) = json.loads(Path("said.json").read_text())
    assert (failed, succeeded, nothing) == ("failed", "success", None)
    assert "the crash of the test" in why
    assert "infrastructure" not in why
    assert "No space left" not in why


@pytest.mark.slow
def test_a_failure_that_cannot_be_logged_is_decided_on_all_the_same(folder):
    """failures.log on a full disk, and nobody on stderr: the pipeline continues as --on-failure says."""
    Path("exp.yaml").write_text(EXPERIMENT.replace("./a_task.py", "./a_task.py, args: {do: crash}"))
    Path("outputs/p").mkdir(parents=True)
    Path("outputs/p/failures.log").symlink_to("/dev/full")
    descriptor = gone_pipe()
    done = call(
        TENYSON, "run", "exp.yaml", "--run-id", "p", "--on-failure", "continue", stdout=descriptor, stderr=descriptor
    )  # fmt: skip
    assert done.returncode == 1
    data = json.loads(call(TENYSON, "pipelines", "p", "--json").stdout)
    assert [step["state"] for step in data["steps"]] == ["FAILED", "FAILED"]


@pytest.mark.parametrize("gone", [gone_pipe, full_disk])
def test_a_job_whose_log_is_gone_ends_as_it_would_have(folder, gone):
    """What the task prints, and the runner's own message, change nothing about its exit status."""
    Path("config.yaml").write_text("model: {name: nobody/model}\ntask: {module: ./a_task.py}\nrun: {id: r}\n")
    descriptor = gone()
    done = call(
        sys.executable, "-m", "tenyson.runner", "--job-type", "eval", "--config", "config.yaml",
        "--task-module", "a_task.py:Nobody", stdout=descriptor, stderr=descriptor,
    )  # fmt: skip
    assert done.returncode == 2
