"""Processes that start warm do what new interpreters do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.fakes.waiting import wait_for

pytestmark = pytest.mark.train

SCRIPT = Path(__file__).parent / "fakes" / "told.py"


def run(*words: str, **options):
    return subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False, **options
    )


def test_a_process_has_its_own_arguments_streams_folder_environment_and_status(tmp_path):
    """Which libraries are there already says that it started warm."""
    env = {**os.environ, "TOLD": "yes"}
    done = run("7", "a b", cwd=tmp_path, env=env, input="typed\n")
    assert done.returncode == 7
    assert done.stderr == "to stderr\n"
    told = json.loads(done.stdout)
    assert told["torch"]
    assert told["pid"] != os.getpid()
    expected = {
        "arguments": [str(SCRIPT), "7", "a b"], "folder": str(tmp_path), "told": "yes", "typed": "typed\n", "name": "__main__",
    }  # fmt: skip
    assert expected.items() <= told.items()


def test_what_a_library_reads_when_it_is_imported_needs_a_new_interpreter():
    """Nothing is imported there."""
    done = run("0", env={**os.environ, "HF_HOME": "/elsewhere"}, stdin=subprocess.DEVNULL)
    assert not json.loads(done.stdout)["torch"]


def test_two_processes_draw_other_random_numbers():
    """A copy does not go on with the server's."""
    drawn = [json.loads(run("0", stdin=subprocess.DEVNULL).stdout)["drawn"] for _ in range(2)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_is_ended_by_a_signal(number):
    """As its parent sees it."""
    with subprocess.Popen(
        [sys.executable, SCRIPT, "wait"], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout.readline() == b"waiting\n"
        assert process.poll() is None
        assert os.getpgid(process.pid) == process.pid
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        process.send_signal(number)
        assert process.wait(10) == -number
        wait_for(lambda: not Path(f"/proc/{process.pid}").exists())


def test_processes_of_a_warm_process_are_warm_where_their_groups_are_their_own():
    """A group is ended whole, and a copy is in the server's."""
    for own, warm in (("session", True), ("group", True), ("none", False)):
        done = run("nested", own, stdin=subprocess.DEVNULL)
        assert json.loads(done.stdout)["torch"] == warm, own


def test_the_ranks_of_torchrun_are_warm_and_descend_from_it():
    """Whoever kills it with all its descendants, as a preemption does, leaves nothing behind."""
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        SCRIPT,
        "wait",
    ]
    with subprocess.Popen(launch, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert [process.stdout.readline() for _ in range(2)] == [b"waiting\n"] * 2
        own = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        ranks = [pid for pid in own if os.getsid(pid) == pid and pid != process.pid]
        assert len(ranks) == 2
        assert all(b"warm.py" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in ranks)
        for pid in own:
            os.kill(pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in own))


@pytest.mark.parametrize(
    ("module", "warm"), [("quite_new_module.py", True), ("colorsys.py", False), ("sitecustomize.py", False)]
)
def test_a_folder_of_modules_that_replace_none_may_be_added(tmp_path, module, warm):
    """As PYTHONPATH does."""
    (tmp_path / module).touch()
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    told = json.loads(run("0", env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL).stdout)
    assert told["torch"] == warm
    assert str(tmp_path) in told["path"]
