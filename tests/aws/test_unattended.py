"""Nobody looks: the machine ends itself, the job goes on without its controller, and what it made is found again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from tests.aws.test_launch import controller
from tests.fakes.waiting import wait_for

from tenyson.testing.ticking import lines
from tenyson_aws.api.naming import attempt_folder
from tenyson_aws.record import MachineRecord

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def state_of(aws, instance):
    return aws.ec2.state["machines"][instance]["state"]


def begin_and_leave(aws, job, **settings):
    """Submit from a process that dies once the job runs; returns the instance."""
    spec = replace(job.spec(), token=f"left-{aws.folder}")
    # As a run does: wheels are made before the machine is there, which may have few seconds to stand idle.
    aws.backend(**settings).validate(spec)
    first = controller(aws, spec, **settings)
    instance = first.stdout.readline().strip()
    wait_for(lambda: (record := MachineRecord.load(aws.folder / "job")) is not None and record.job)
    first.send_signal(signal.SIGKILL)
    first.wait()
    return instance, spec


def test_a_machine_whose_controller_never_comes_back_ends_itself_when_it_is_idle(aws):
    """The job first goes on to its end: it does not count as idle."""
    instance, _ = begin_and_leave(aws, aws.job(steps=130), idle_minutes=0.15)
    time.sleep(11)
    assert state_of(aws, instance) == "running"
    wait_for(lambda: state_of(aws, instance) == "terminated")
    assert "nothing to do for 9 seconds" in aws.ec2.state["machines"][instance]["console"]


def test_a_machine_ends_itself_at_its_deadline_whatever_runs_on_it(aws):
    """And the run is told so: a timeout, not a loss that nobody can explain."""
    result = aws.manager(max_hours=12 / 3600).run(aws.job(steps=10_000))
    assert result.status == "failed"
    assert result.failure_reason.startswith("timeout: the machine's longest lifetime is over"), (
        result.failure_reason
    )


def test_a_job_with_a_lease_saves_and_ends_once_nobody_looks_after_it(aws):
    """Only where a lease was asked for."""
    _, spec = begin_and_leave(aws, aws.job(steps=10_000), lease_hours=3 / 3600)
    time.sleep(20)
    backend = aws.backend(lease_hours=3 / 3600)
    handle = backend.submit(spec)
    wait_for(lambda: backend.poll(handle).phase == "ended")
    assert json.loads((aws.folder / "job" / "stopped.json").read_text())["reason"] == "SIGTERM"
    backend.release(handle)


def attach(aws, run="job"):
    return subprocess.run(
        [sys.executable, "-m", "tenyson", "attach", run],
        capture_output=True,
        text=True,
        check=False,
        cwd=aws.folder.parent,
    )


def test_tenyson_attach_finds_a_run_that_a_script_began_and_takes_it_to_its_end(aws):
    """The laptop slept: everything comes, from the first line on, and the machine is given back."""
    begin_and_leave(aws, aws.job(steps=80))
    told = attach(aws)
    assert told.returncode == 0, told.stderr
    assert "job: success" in told.stdout
    assert aws.log() == lines(80)
    assert aws.ec2.live() == []


def test_outputs_of_a_machine_that_is_gone_come_from_the_bucket(aws, monkeypatch):
    """The job ended while nobody looked, its machine ended itself, and the run is a success all the same; no secret is there."""
    canary = "hf_canaryCANARYcanaryCANARYcanary01"
    monkeypatch.setenv("HF_TOKEN", canary)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="unattended")
    settings = {"bucket": "unattended/runs", "instance_profile": None, "idle_minutes": 0.1}
    instance, spec = begin_and_leave(aws, aws.job(steps=40), **settings)
    wait_for(lambda: state_of(aws, instance) == "terminated")
    told = attach(aws)
    assert told.returncode == 0, told.stderr
    assert aws.log() == lines(40)
    assert json.loads((aws.folder / "job" / "job_result.json").read_text())["status"] == "success"
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="unattended")["Contents"]]
    assert f"runs/job/{attempt_folder(spec.token)}/log.txt" in keys
    assert not [
        key for key in keys if canary.encode() in s3.get_object(Bucket="unattended", Key=key)["Body"].read()
    ]


SCRIPT = """
import json, sys
from tests.fakes.rented_job import Job
from pathlib import Path
from tenyson_aws.manager import AWSManager
request = json.loads(sys.argv[1])
manager = AWSManager(**request["settings"])
result = manager.run(Job(Path(request["folder"]), {"steps": 120}))
print("OUTCOME", result.status, result.failure_reason, flush=True)
"""


def script(aws):
    settings = aws.ec2.settings | {"runner": aws.ec2.runners["ticking"], "output_dir": str(aws.folder)}
    request = {"settings": settings, "folder": str(aws.folder)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(request)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd(),
        env=os.environ | {"PYTHONPATH": str(aws.repository)},
    )  # fmt: skip


@pytest.mark.parametrize("phase", ["booting", "installing", "running"])
def test_ctrl_c_once_leaves_the_job_to_itself_and_says_how_to_come_back(aws, phase):
    """In every phase; what was rented is tracked, and attach goes on with it."""
    running = script(aws)
    ready = {
        "booting": lambda record: record.instance_id,
        "installing": lambda record: "shipped" in record.times,
        "running": lambda record: record.job,
    }[phase]
    wait_for(lambda: (record := MachineRecord.load(aws.folder / "job")) is not None and ready(record))
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=180)
    assert "OUTCOME stopped detached: the job keeps running; reattach with `tenyson attach job`" in out
    assert "Ctrl-C again ends the job now and releases its machine" in err
    told = attach(aws)
    assert told.returncode == 0, told.stderr


def test_ctrl_c_twice_gives_the_machine_back(aws):
    """And the result says so."""
    running = script(aws)
    wait_for(lambda: (record := MachineRecord.load(aws.folder / "job")) is not None and record.job)
    running.send_signal(signal.SIGINT)
    assert any("Ctrl-C again" in line for line in running.stderr)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=180)
    assert "OUTCOME failed killed: the job was ended from here" in out
    assert aws.ec2.live() == []


def test_a_job_that_is_cancelled_while_its_machine_boots_is_stopped_and_the_machine_given_back(aws):
    """Nothing is waited for: there is nothing to save."""
    aws.ec2.do("boot", seconds=30)
    manager = aws.manager()
    spec = aws.job(steps=3).spec()
    handle = manager.backend.submit(spec)
    manager.backend.cancel(handle, 60)
    seen = wait_for(lambda: (seen := manager.backend.poll(handle)).phase == "ended" and seen, seconds=25)
    assert (seen.exit_code, seen.detail) == (130, "it was cancelled before its job began")
    manager.backend.release(handle)
    aws.ec2.do("boot", seconds=0)
    assert aws.ec2.live() == []


def test_a_run_is_attached_to_from_another_machine_by_its_tag_alone(aws, tmp_path):
    """Its folder is not there: record, log and outputs come from the instance."""
    begin_and_leave(aws, aws.job(steps=80))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "tenyson.yaml").write_text(json.dumps({"backend": {"aws": aws.ec2.settings}}))
    shutil.rmtree(aws.folder / "job")
    command = [sys.executable, "-m", "tenyson", "aws", "attach", "job", "--set", f"output_dir={aws.folder}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=elsewhere)
    assert told.returncode == 0, told.stderr
    assert "job: success" in told.stdout
    assert aws.log() == lines(80)
    assert aws.ec2.live() == []


def test_a_job_there_that_does_not_exit_once_its_result_is_written_is_ended_and_stands(aws, monkeypatch):
    """The machine is not paid for until its longest lifetime."""
    from tests.fakes.lingering_job import RUNNER_THERE

    monkeypatch.setenv("TENYSON_EXIT_GRACE", "0.5")
    aws.ec2.runners["lingering"] = RUNNER_THERE
    manager = aws.manager("lingering", forward_env=["TENYSON_EXIT_GRACE"])
    result = manager.run(aws.job(status="success"))
    assert result.status == "success", result.failure_reason
    assert any("does not exit" in line for line in aws.log())
