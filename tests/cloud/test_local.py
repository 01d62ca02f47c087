"""The local backend with real processes: how a job ends is learnt, classified, and never raised."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tenyson.cloud.backend import Handle
from tenyson.cloud.local.backend import LocalBackend
from tenyson.cloud.local.process import start_mark
from tenyson.errors import BackendError

HERE = Path(__file__).parent
RUNNER = (sys.executable, str(HERE / "stand_in_runner.py"))


def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def logged(backend, handle):
    return b"".join(chunk for _, chunk in backend.stream_logs(handle)).decode()


def test_a_job_that_succeeds_returns_what_its_result_file_says(manager, job, tmp_path):
    """Exit status 0 and a valid job_result.json of this run together are a success."""
    result = manager.run(job())
    assert result.status == "success"
    assert result.metrics == {"win_rate": 0.5}
    assert result.local_output_dir == str(tmp_path / "job")
    assert result.failure_reason is None


@pytest.mark.parametrize(
    ("do", "begins", "says"),
    [
        ("crash", "the job failed by itself (exit status 1)", "RuntimeError: the crash of the test"),
        ("no-result", "the job ended with exit status 0, but it left no job_result.json", ""),
        ("half-result", "the job ended with exit status 0, but its job_result.json cannot be used", ""),
        ("foreign-result", "the job ended with exit status 0, but its job_result.json is of another run", ""),
        ("lie", "the job failed by itself (exit status 1)", ""),
        ("user-error", "user_error: ", "training.learning_rat: unknown key"),
        ("memory", "out_of_memory: ", "MemoryError"),
        ("disk", "infrastructure: the disk is full", "No space left on device"),
        ("kill-self", "killed: the job was ended by SIGKILL", "an ordinary line"),
    ],
)
def test_a_failed_job_is_a_result_with_its_reason_and_last_lines(manager, job, capfd, do, begins, says):
    """A failure does not raise: it is a JobResult, printed on stderr, and the last log lines are in it."""
    result = manager.run(job(do))
    assert result.status == "failed"
    assert result.failure_reason.startswith(begins)
    assert "the last lines of" in result.failure_reason
    assert says in result.failure_reason
    assert "@tenyson" not in result.failure_reason
    assert result.spot_interruption is False
    assert f"job failed: {begins}" in capfd.readouterr().err


def test_a_job_killed_from_outside_while_it_runs_is_killed_not_out_of_memory(manager, job, tmp_path):
    """SIGKILL without the kernel's own count of memory kills is `killed`."""
    backend = manager.backend
    handle = backend.submit(job("wait").spec())
    os.kill(handle.data["job"]["pid"], signal.SIGKILL)
    until(lambda: backend.poll(handle).phase == "ended")
    seen = backend.poll(handle)
    assert (seen.exit_code, seen.reason) == (-9, "killed")


def test_secrets_in_the_log_are_struck_from_the_failure_reason(manager, job, monkeypatch):
    """A failure reason goes to webhooks and reports; what an environment variable hides must not."""
    monkeypatch.setenv("CANARY_TOKEN", "canary-5f2a8c1d")
    result = manager.run(job("crash"))
    assert "the crash of the test, with ***" in result.failure_reason
    assert "canary-5f2a8c1d" not in result.failure_reason


@pytest.mark.cold
def test_the_command_line_of_a_job_holds_its_flags_and_nothing_else(manager, job, tmp_path):
    """What is on a command line can be read by every user of the machine."""
    handle = manager.backend.submit(job("wait").spec())
    try:
        command = Path(f"/proc/{handle.data['job']['pid']}/cmdline").read_bytes().decode().split("\0")[:-1]
    finally:
        manager.backend.terminate(handle)
    config = str(tmp_path / "job" / "config.yaml")
    assert command == [*RUNNER, "--job-type", "sft", "--config", config, "--task-module", "none:None"]


def test_the_log_is_streamed_by_byte_offset(manager, job):
    """Reading from a cursor gives exactly what follows it, and nothing when nothing is new."""
    backend = manager.backend
    handle = backend.submit(job().spec())
    until(lambda: backend.poll(handle).phase == "ended")
    pieces = list(backend.stream_logs(handle))
    whole = b"".join(chunk for _, chunk in pieces)
    assert pieces[-1][0] == len(whole) == Path(handle.data["folder"], "log.txt").stat().st_size
    assert b"".join(chunk for _, chunk in backend.stream_logs(handle, 7)) == whole[7:]
    assert list(backend.stream_logs(handle, len(whole))) == []


def test_cancel_lets_the_job_save_and_sends_one_signal(manager, job):
    """SIGTERM reaches the job once, however often cancel is called; it saves and ends with status 130."""
    backend = manager.backend
    handle = backend.submit(job("wait").spec())
    until(lambda: "waiting" in logged(backend, handle))
    backend.cancel(handle, 30)
    backend.cancel(handle, 30)
    until(lambda: backend.poll(handle).phase == "ended")
    assert backend.poll(handle).exit_code == 130
    assert "saved after 1 signal" in logged(backend, handle)


@pytest.mark.slow
def test_a_job_that_ignores_cancel_is_killed_after_the_grace(manager, job):
    """The supervisor keeps the time, so the controller need not wait."""
    backend = manager.backend
    handle = backend.submit(job("stubborn").spec())
    until(lambda: "waiting" in logged(backend, handle))
    begun = time.monotonic()
    backend.cancel(handle, 5.0)
    assert time.monotonic() - begun < 4.0
    until(lambda: backend.poll(handle).phase == "ended")
    assert time.monotonic() - begun >= 5.0
    assert backend.poll(handle).exit_code == -9


def test_terminate_ends_a_job_for_sure_and_twice_does_no_harm(manager, job):
    """When terminate returns, the process is gone."""
    handle = manager.backend.submit(job("stubborn").spec())
    manager.backend.terminate(handle)
    assert start_mark(handle.data["job"]["pid"]) is None
    manager.backend.terminate(handle)


def test_helpers_that_a_job_leaves_behind_end_with_it(manager, job, tmp_path):
    """A forgotten worker would hold the GPU's memory against the next job."""
    assert manager.run(job("leave-helper")).status == "success"
    helper = int((tmp_path / "job" / "helper").read_text())
    until(lambda: start_mark(helper) is None)


SUBMIT_AND_DIE = """
import os, sys
sys.path.insert(0, {here!r})
from conftest import RUNNER, StandInJob
from pathlib import Path
from tenyson.cloud.local.backend import LocalBackend
LocalBackend({folder!r}, RUNNER).submit(StandInJob(Path({folder!r}), {do!r}).spec())
os.kill(os.getpid(), 9)
"""


def controller_dies(folder, do):
    script = SUBMIT_AND_DIE.format(here=str(HERE), folder=str(folder), do=do)
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9


def test_a_job_outlives_its_controller_and_is_found_again(tmp_path):
    """Another process finds the job by its run id, reads its log from the start, and learns how it ended."""
    controller_dies(tmp_path, "wait")
    backend = LocalBackend(tmp_path, RUNNER)
    handle = backend.reattach("job")
    assert handle == backend.list()[0]
    assert handle == Handle(**json.loads(json.dumps(vars(handle))))
    assert backend.poll(handle).phase == "running"
    until(lambda: "waiting" in logged(backend, handle))
    backend.cancel(handle, 30)
    until(lambda: backend.poll(handle).phase == "ended")
    assert backend.poll(handle).exit_code == 130
    assert backend.reattach("other") is None


def test_the_exit_status_is_learnt_even_if_the_job_ended_without_a_controller(tmp_path):
    """The supervisor wrote it down."""
    controller_dies(tmp_path, "kill-self")
    backend = LocalBackend(tmp_path, RUNNER)
    handle = backend.reattach("job")
    until(lambda: backend.poll(handle).phase == "ended")
    assert backend.poll(handle).exit_code == -9


def test_running_a_job_that_already_runs_adopts_it(manager, job, tmp_path):
    """submit is idempotent: the same run id is the same process, not a second one in its folder."""
    controller_dies(tmp_path, "wait")
    first = manager.backend.reattach("job")
    second = manager.backend.submit(job("wait").spec())
    assert first == second
    manager.backend.terminate(first)


def test_a_job_whose_supervisor_is_gone_too_is_lost_and_not_a_success(manager, job):
    """Nobody saw the exit status; guessing would be a lie."""
    backend = manager.backend
    handle = backend.submit(job("stubborn").spec())
    os.kill(handle.data["supervisor"]["pid"], signal.SIGKILL)
    until(lambda: start_mark(handle.data["supervisor"]["pid"]) is None)
    assert backend.poll(handle).phase == "running"
    backend.terminate(handle)
    seen = backend.poll(handle)
    assert (seen.phase, seen.exit_code, seen.reason) == ("ended", None, "lost")


def test_a_recycled_pid_is_not_mistaken_for_the_job(manager, job):
    """The handle holds the start time as well; signals never go to a stranger."""
    backend = manager.backend
    handle = backend.submit(job().spec())
    until(lambda: backend.poll(handle).phase == "ended")
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        who = {"pid": stranger.pid, "mark": handle.data["job"]["mark"]}
        Path(handle.data["folder"], "exit_status.json").unlink()
        other = Handle("local", "job", {**handle.data, "supervisor": who, "job": who})
        assert backend.poll(other).phase == "ended"
        backend.cancel(other, 1)
        backend.terminate(other)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_second_attempt_never_takes_the_first_ones_result_for_its_own(manager, job, tmp_path):
    """The files of an earlier attempt move to earlier/<n>; nothing is lost."""
    assert manager.run(job()).status == "success"
    assert manager.run(job("no-result")).status == "failed"
    earlier = tmp_path / "job" / "earlier" / "1"
    assert json.loads((earlier / "job_result.json").read_text())["status"] == "success"
    assert (earlier / "adapter").is_dir()
    assert not (tmp_path / "job" / "adapter").exists()


def test_a_resumed_attempt_keeps_checkpoints_and_log(manager, job, tmp_path):
    """Only the result of the attempt before moves aside; the new log follows the old one."""
    assert manager.run(job("flaky")).status == "failed"
    result = manager.run(job("flaky", training={"resume_from_checkpoint": "latest"}))
    assert result.status == "success"
    assert (tmp_path / "job" / "checkpoints" / "step-3").is_dir()
    assert "the first attempt fails" in (tmp_path / "job" / "log.txt").read_text()
    assert "the first attempt fails" not in logged(manager.backend, manager.backend.reattach("job"))


def test_a_folder_that_cannot_be_written_is_found_before_the_start(manager, tmp_path, job):
    """validate raises; nothing was started."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="cannot be written"):
        manager.run(type(job())(tmp_path / "file"))


def test_a_runner_that_does_not_exist_is_a_failed_result_that_names_it(tmp_path, job):
    """Even a launch that fails is a JobResult."""
    from tenyson.cloud.local.backend import LocalManager

    result = LocalManager(tmp_path, runner=("/no/such/python",)).run(job())
    assert result.status == "failed"
    assert "/no/such/python" in result.failure_reason
