"""Launching an attempt once: replies lost, controllers killed at every point, two calls for one attempt, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys

import pytest
from tests.fakes.ec2.client import REPOSITORY
from tests.fakes.waiting import wait_for

from tenyson.errors import BackendError
from tenyson.testing.ticking import lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def ended(backend, handle):
    seen = wait_for(lambda: (seen := backend.poll(handle)).phase == "ended" and seen)
    backend.release(handle)
    return seen


@pytest.mark.parametrize(
    "rpc", ["AppCreate", "AppPublish", "FunctionCreate", "FunctionMap", "AppClientDisconnect"]
)
def test_a_launch_whose_reply_is_lost_starts_one_job(modal, rpc):
    """Whatever of it Modal had done."""
    modal.cloud.fail(rpc, times=1, after=True)
    result = modal.manager().run(modal.job(steps=3))
    assert result.status == "success", result.failure_reason
    assert modal.log() == lines(3)


@pytest.mark.parametrize("rpc", ["VolumePutFiles2", "AppClientDisconnect"])
def test_what_fails_after_the_call_is_told_while_the_job_is_watched(modal, capfd, rpc):
    """The call works and costs by then. The record for other machines is left in the volume as soon as it takes it."""
    modal.cloud.fail(rpc, times=1, status="RESOURCE_EXHAUSTED", message="not so fast")
    result = modal.manager().run(modal.job(steps=100))
    assert result.status == "success", result.failure_reason
    assert modal.log() == lines(100)
    assert "not so fast" in capfd.readouterr().err
    assert list(modal.kept().glob(".tenyson/*/record.json"))


@pytest.mark.parametrize("rpc", ["ImageGetOrCreate", "FunctionCreate", "FunctionMap"])
def test_a_launch_that_broke_off_is_begun_anew_and_leaves_no_app_behind(modal, rpc):
    """The controller was killed there: the same token finds what there is by its name."""
    modal.cloud.fail(rpc, times=1, status="INVALID_ARGUMENT", message="torn")
    spec = modal.job(steps=3).spec("torn")
    with pytest.raises(BackendError, match="torn"):
        modal.backend().submit(spec)
    first = modal.record()
    assert first.app_name
    assert first.call_id is None
    modal.close()
    backend = modal.backend()
    handle = backend.submit(spec)
    assert ended(backend, handle).exit_code == 0
    assert modal.log() == lines(3)


def test_a_call_whose_id_was_never_written_down_is_found_by_its_claim(modal):
    """The controller was killed between the call and the next line."""
    spec = modal.job(steps=40).spec("unwritten")
    backend = modal.backend()
    handle = backend.submit(spec)
    wait_for(lambda: backend.poll(handle).phase == "running")
    backend.close()
    record = modal.record()
    call, record.call_id, record.app_id, record.job = record.call_id, None, None, None
    record.save(modal.folder / "job")
    later = modal.backend()
    found = later.submit(spec)
    assert found.data["instance_id"] == call
    assert ended(later, found).exit_code == 0
    assert modal.log() == lines(40)


def test_of_two_calls_for_one_attempt_one_works_and_the_other_is_followed_to_it(modal):
    """Modal has no key that makes a call once; the lock has."""
    from tenyson_modal.app.launch import Launcher
    from tenyson_modal.record import CallRecord

    spec = modal.job(steps=200).spec("twice")
    backend = modal.backend()
    handle = backend.submit(spec)
    wait_for(lambda: backend.poll(handle).phase == "running")
    backend.close()
    second = CallRecord.load(modal.folder / "job")
    second.job = None
    Launcher(backend._settings, print)._spawn(second, modal.folder / "job")
    assert second.call_id != handle.data["instance_id"]
    later = modal.backend()
    found = later.submit(spec)
    assert found.data["instance_id"] == second.call_id
    assert ended(later, found).exit_code == 0
    assert modal.log() == lines(200)
    assert modal.record().follows == handle.data["instance_id"]


def test_a_container_that_was_believed_dead_ends_its_job_once_another_has_taken_over(modal):
    """Modal gave the input away while the first one lived on: only the later one may write."""
    from tenyson_modal.api.naming import attempt_key
    from tenyson_modal.app.launch import control
    from tenyson_modal.container.lock import Lock

    backend = modal.backend()
    handle = backend.submit(modal.job(steps=4000).spec("fenced"))
    wait_for(lambda: backend.poll(handle).phase == "running")
    later = Lock.take(control(backend._settings), attempt_key("fenced"), handle.data["instance_id"])
    assert later.life == 2
    seen = ended(backend, handle)
    assert (seen.reason, seen.detail) == ("lost", "the attempt belongs to a later container")
    wait_for(lambda: not [one for one in modal.cloud.containers() if one["running"]])


SCRIPT = """
import json, sys
from pathlib import Path
from tests.fakes.rented_job import Job
from tenyson_modal.manager import ModalManager
request = json.loads(sys.argv[1])
result = ModalManager(**request["settings"]).run(Job(Path(request["folder"]), {"steps": 120}))
print("OUTCOME", result.status, result.failure_reason, flush=True)
"""


def script(modal, **settings):
    from tenyson.testing.backends import TICKING

    more = {"runner": ["{python}", *TICKING], "output_dir": str(modal.folder)}
    request = {"settings": modal.settings | more | settings, "folder": str(modal.folder)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(request)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


def attach(folder):
    command = [sys.executable, "-m", "tenyson", "attach", "job"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.parametrize("phase", ["launching", "queued", "running"])
def test_ctrl_c_once_leaves_the_job_to_itself_and_says_how_to_come_back(modal, tmp_path, phase):
    """In every phase; attach goes on with it."""
    if phase == "queued":
        modal.cloud.capacity("T4", available=False)
    running = script(modal, gpu="T4")
    ready = {
        "launching": lambda record: record.app_name,
        "queued": lambda record: record.call_id,
        "running": lambda record: record.job,
    }[phase]
    wait_for(lambda: (record := modal.record()) is not None and ready(record))
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert "OUTCOME stopped detached: the job keeps running; reattach with `tenyson attach job`" in out, err
    assert "Ctrl-C again ends the job now" in err
    modal.cloud.capacity("T4", available=True)
    told = attach(tmp_path)
    assert told.returncode == 0, told.stderr
    assert modal.log() == lines(120)


def test_ctrl_c_twice_ends_it(modal):
    """And the result says so."""
    running = script(modal)
    wait_for(lambda: (record := modal.record()) is not None and record.job)
    running.send_signal(signal.SIGINT)
    assert any("Ctrl-C again" in line for line in running.stderr)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=120)
    assert "OUTCOME failed killed: the job was ended from here" in out
    assert modal.live() == []


def test_a_controller_that_is_killed_is_no_loss(modal, tmp_path):
    """The detached job goes on; whoever attaches has every line."""
    running = script(modal)
    wait_for(lambda: (record := modal.record()) is not None and record.job)
    running.kill()
    running.wait()
    told = attach(tmp_path)
    assert told.returncode == 0, told.stderr
    assert modal.log() == lines(120)
