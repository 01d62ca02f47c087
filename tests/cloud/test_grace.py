"""A clean stop has the time that it needs: two steps' worth by default, what --grace says else; a kill says whose it was."""

import os
import signal

import pytest
from click.testing import CliRunner
from tests.fakes.waiting import wait_for

from tenyson.cli.main import cli
from tenyson.cloud.local.backend import LocalManager
from tenyson.cloud.watch.grace import MOST_SECONDS, StepClock, grace_of


def clock(*times, step=1):
    made = StepClock()
    made.take({"event": "RunStarted", "time": 0.0}, now=0.0)
    for number, when in enumerate(times, start=1):
        made.take({"event": "MetricsLogged", "step": number * step, "time": when}, now=when)
    return made


@pytest.mark.parametrize(
    ("made", "now", "least", "most"),
    [
        (clock(180.0, 360.0, 540.0), 541.0, 420, 421),  # steps of three minutes
        (clock(1.0, 2.0, 3.0), 3.5, 120, 120),  # quick ones
        (clock(), 200.0, 460, 461),  # the first step is under way, and nothing is measured yet
        (clock(1.0, 2.0), 302.0, 660, 661),  # an evaluation is under way
        (clock(600.0, 1200.0, step=10), 1201.0, 180, 181),  # a row of numbers every ten steps
        (clock(1e6), 1e6, MOST_SECONDS, MOST_SECONDS),  # a machine's clock is not believed
        (StepClock(), 1e9, 120, 120),
    ],
)
def test_the_grace_is_scaled_to_the_measured_step(made, now, least, most):
    """An RL step of 180 s was killed after 120 s, without a checkpoint."""
    assert least <= made.grace(now) <= most


def test_what_was_asked_for_is_taken_and_a_watch_of_another_kind_has_the_least():
    """--grace, grace_seconds."""
    assert grace_of(object(), 7.0) == 7.0
    assert grace_of(object(), None) == 120.0


@pytest.mark.parametrize("command", ["run", "attach"])
def test_both_commands_take_grace_and_refuse_what_is_none(command):
    """Status 2, by name."""
    told = CliRunner().invoke(cli, [command, "--grace", "soon"])
    assert told.exit_code == 2
    assert "--grace" in told.output
    assert "--grace SECONDS" in CliRunner().invoke(cli, [command, "--help"]).output


def interrupted(job, tmp_path, monkeypatch, runner, **settings):
    """Ctrl-C once the job waits."""
    import threading

    log = tmp_path / "job" / "log.txt"

    def press():
        wait_for(lambda: log.exists() and "waiting" in log.read_text())
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    result = LocalManager(tmp_path, runner=runner, **settings).run(job("stubborn"))
    thread.join()
    return result


def test_a_job_that_is_killed_at_the_end_of_its_grace_says_by_whom_and_how_to_give_it_longer(
    job, tmp_path, monkeypatch, capfd, manager
):
    """Not only that it was killed."""
    result = interrupted(job, tmp_path, monkeypatch, manager.backend.runner, grace_seconds=1.0)
    assert result.status == "failed"
    assert "the job was ended by SIGKILL, signal 9: its supervisor did that" in result.failure_reason
    assert "1 s after its controller asked for it; --grace gives it longer" in result.failure_reason
    assert "the job saves and ends, within 1 s" in capfd.readouterr().err


def test_a_job_that_is_ended_at_once_names_its_controller(job, manager):
    """The second Ctrl-C, or terminate."""
    backend = manager.backend
    handle = backend.submit(job("stubborn").spec())
    backend.terminate(handle)
    assert f"its controller (process {os.getpid()}) ended it at once" in backend.poll(handle).detail


def test_a_job_that_somebody_else_kills_is_not_taken_for_ours(job, manager):
    """Such as a system that is short of something."""
    backend = manager.backend
    handle = backend.submit(job("stubborn").spec())
    os.kill(handle.data["job"]["pid"], signal.SIGKILL)
    seen = wait_for(lambda: (seen := backend.poll(handle)).phase == "ended" and seen, seconds=20)
    assert "nobody of Tenyson did that" in seen.detail
