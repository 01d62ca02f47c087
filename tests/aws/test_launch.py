"""Launching: one machine for an attempt whatever happens on the way, and every refusal told."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.waiting import wait_for

from tenyson.errors import BackendError
from tenyson_aws.api.failures import AWSError
from tenyson_aws.ec2.launch import Launcher
from tenyson_aws.record import MachineRecord

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def launch(aws, token="attempt-1", **settings):
    """Only the launch, without looking after the machine."""
    backend = aws.backend(**settings)
    folder = aws.folder / "job"
    folder.mkdir(parents=True, exist_ok=True)
    record = MachineRecord.load(folder)
    if record is None or record.token != token:
        spec = {"run_id": "job", "job_type": "sft", "task": "none:None", "config": {}, "token": token}
        record = MachineRecord("aws", token, spec, {}, str(folder), time.time())
        record.save(folder)
    Launcher(backend.clients, backend._settings, lambda _: None).launch(record, folder)
    return record


def launched(aws, token):
    return [one["id"] for one in aws.ec2.state["launched"] if one["attempt"] == token]


def end(aws, record):
    from tenyson_aws.ec2.instance import Instance

    Instance(aws.backend().clients, record.instance_id, time.time()).terminate(lambda _: None)


def test_a_launch_whose_reply_is_lost_gives_one_machine(aws, tmp_path):
    """The same request with the same token gives the same machine again."""
    aws.ec2.rule("CreateFleet", "drop", times=3)
    record = launch(aws, f"lost-{tmp_path}")
    assert launched(aws, f"lost-{tmp_path}") == [record.instance_id]
    end(aws, record)


def test_a_launch_that_is_throttled_is_asked_for_again(aws, tmp_path):
    """With a pause that grows."""
    aws.ec2.rule("CreateFleet", "error", code="RequestLimitExceeded", times=3)
    record = launch(aws, f"slow-{tmp_path}")
    assert len(launched(aws, f"slow-{tmp_path}")) == 1
    end(aws, record)


def test_the_machine_is_as_the_settings_say_and_carries_our_tags_from_its_first_moment(aws, tmp_path):
    """IMDSv2 only, ends itself, tagged in the call that creates it, nothing secret in its user data."""
    record = launch(aws, f"tags-{tmp_path}", max_hours=2)
    machine = aws.ec2.state["machines"][record.instance_id]
    tags = machine["tags"]
    assert tags["tenyson:managed"] == "1"
    assert tags["tenyson:run"] == "job"
    assert tags["tenyson:attempt"] == f"tags-{tmp_path}"
    assert tags["tenyson:ends-by"] > time.strftime("%Y-%m-%dT%H", time.gmtime())
    assert "watchdog.sh 7200 3600" in machine["user_data"]
    template = next(call for call in aws.ec2.state["calls"] if call["action"] == "CreateLaunchTemplate")
    assert template["LaunchTemplateData.InstanceInitiatedShutdownBehavior"] == "terminate"
    assert template["LaunchTemplateData.MetadataOptions.HttpTokens"] == "required"
    assert template["LaunchTemplateData.BlockDeviceMapping.1.Ebs.Encrypted"] == "true"
    assert template["LaunchTemplateData.BlockDeviceMapping.1.Ebs.VolumeType"] == "gp3"
    end(aws, record)


def test_no_capacity_in_one_zone_takes_the_next(aws, tmp_path):
    """Without a word: a fleet asks for all of them at once."""
    aws.ec2.rule("CreateFleet", "capacity", code="InsufficientInstanceCapacity", where={"zone": "us-east-1a"})
    record = launch(aws, f"zone-{tmp_path}")
    assert record.zone != "us-east-1a"
    end(aws, record)


def test_no_capacity_anywhere_is_one_failure_that_names_every_place(aws, tmp_path):
    """Type, zone and AWS's own words, for each; reason capacity."""
    aws.ec2.rule(
        "CreateFleet", "capacity", code="InsufficientInstanceCapacity", message="we are out of these"
    )
    with pytest.raises(AWSError, match="no machine is to be had now") as caught:
        launch(aws, f"none-{tmp_path}", instance_types=["g6.2xlarge"], use_spot=True)
    assert caught.value.reason == "capacity"
    for place in ("spot g5.2xlarge in us-east-1a", "spot g6.2xlarge in us-east-1b"):
        assert place in str(caught.value)
    assert "we are out of these" in str(caught.value)
    assert "on_demand_fallback" in caught.value.next_step


def test_spot_falls_back_to_on_demand_where_that_is_asked_for(aws, tmp_path):
    """Both markets' refusals stay in the record."""
    aws.ec2.rule("CreateFleet", "capacity", code="UnfulfillableCapacity", where={"market": "spot"})
    record = launch(aws, f"fallback-{tmp_path}", use_spot=True, on_demand_fallback=True)
    assert record.market == "on-demand"
    assert any(line.startswith("spot g5.2xlarge") for line in record.refusals)
    end(aws, record)


@pytest.mark.parametrize(
    ("code", "reason", "says"),
    [
        ("VcpuLimitExceeded", "quota", "a quota of your account is used up"),
        ("UnauthorizedOperation", "auth", "the launch was refused"),
        ("InvalidIamInstanceProfile", "user_error", "the launch was refused"),
    ],
)
def test_what_no_other_zone_mends_stops_at_once_even_amid_a_failover(aws, tmp_path, code, reason, says):
    """Not shown as missing capacity, and not tried on demand."""
    aws.ec2.rule("CreateFleet", "capacity", code=code, where={"zone": "us-east-1b"})
    aws.ec2.rule("CreateFleet", "capacity", code="InsufficientInstanceCapacity")
    with pytest.raises(AWSError, match=says) as caught:
        launch(aws, f"{code}-{tmp_path}", use_spot=True, on_demand_fallback=True)
    assert caught.value.reason == reason
    assert code in str(caught.value)
    assert "InsufficientInstanceCapacity" in str(caught.value)
    assert "on-demand" not in str(caught.value).partition("Set")[0]


def test_a_refused_call_is_told_with_aws_own_code_and_the_next_step(aws, tmp_path):
    """An exception, not an entry of the fleet's errors."""
    aws.ec2.rule("CreateFleet", "error", code="UnauthorizedOperation", message="not you")
    with pytest.raises(AWSError) as caught:
        launch(aws, f"refused-{tmp_path}")
    assert "UnauthorizedOperation: not you" in str(caught.value)
    assert "tenyson aws policy" in str(caught.value)


KILLED = """
import sys, time
from pathlib import Path
from tenyson_aws.backend import AWSBackend
from tenyson.jobs.spec import JobSpec
import json
request = json.loads(sys.argv[1])
backend = AWSBackend(**request["settings"])
print(backend.submit(JobSpec(**request["spec"])).data["instance_id"], flush=True)
time.sleep(600)
"""


def controller(aws, spec, **settings):
    import json

    backend = aws.backend(**settings)
    request = {"settings": backend.settings, "spec": {**vars(spec), "config": dict(spec.config)}}
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, json.dumps(request)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path.cwd(),
    )


def test_a_controller_that_is_killed_between_the_launch_and_its_reply_leaves_no_second_machine(aws, tmp_path):
    """The intent is on disk before the call: the next controller, with the same token, finds the machine."""
    spec = replace(aws.job(steps=3).spec(), token=f"killed-{tmp_path}")
    aws.ec2.rule("CreateFleet", "late", seconds=30, times=1)
    first = controller(aws, spec)
    deadline = time.monotonic() + 120
    while not launched(aws, spec.token):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert MachineRecord.load(aws.folder / "job").instance_id is None
    aws.ec2.do("clear")
    backend = aws.backend()
    handle = backend.submit(spec)
    assert launched(aws, spec.token) == [handle.data["instance_id"]]
    while backend.poll(handle).phase != "ended":
        time.sleep(0.1)
    backend.release(handle)


def test_a_second_process_is_kept_off_a_run_that_is_looked_after(aws, tmp_path):
    """One at a time; the job goes on when the first is gone, and the second takes it over."""
    spec = replace(aws.job(steps=120).spec(), token=f"two-{tmp_path}")
    first = controller(aws, spec)
    instance = first.stdout.readline().strip()
    backend = aws.backend()
    with pytest.raises(BackendError, match="another process is attached to this run"):
        backend.submit(spec)
    first.send_signal(signal.SIGKILL)
    first.wait()
    handle = backend.submit(spec)
    assert handle.data["instance_id"] == instance
    while backend.poll(handle).phase != "ended":
        time.sleep(0.1)
    assert backend.poll(handle).exit_code == 0
    backend.release(handle)


def test_an_instance_that_aws_does_not_know_yet_is_waited_for(aws):
    """Right after a launch, describe_instances may say NotFound."""
    aws.ec2.rule("DescribeInstances", "error", code="InvalidInstanceID.NotFound", times=4, where={"by": "id"})
    result = aws.manager().run(aws.job(steps=2))
    assert result.status == "success", result.failure_reason


def test_a_budget_below_the_worst_case_refuses_before_anything_is_launched(aws, tmp_path):
    """With the arithmetic."""
    backend = aws.backend(budget_usd=10)
    with pytest.raises(
        BackendError,
        match=r"could cost more than backend.settings.budget_usd \(10\): \$1.23 an hour, at most \$29.61",
    ):
        backend.validate(aws.job().spec())
    aws.backend(budget_usd=10, max_hours=8).validate(aws.job().spec())


def test_a_machine_of_a_lost_attempt_is_ended_before_the_next_begins(aws, tmp_path):
    """Even where the earlier attempt was launched and its controller never came back."""
    first = launch(aws, f"first-{tmp_path}")
    backend = aws.backend()
    handle = backend.submit(replace(aws.job(steps=2).spec(), token=f"second-{tmp_path}"))
    assert aws.ec2.state["machines"][first.instance_id]["state"] == "terminated"
    while backend.poll(handle).phase != "ended":
        time.sleep(0.1)
    backend.release(handle)


def test_a_machine_whose_launch_got_no_answer_is_ended_even_while_no_list_shows_it(
    aws, tmp_path, monkeypatch
):
    """EC2's lists lag behind its launches; the same request, sent again, names the machine."""
    monkeypatch.setattr("tenyson_aws.ec2.launch.SAME_REQUEST_TRIES", 2)
    aws.ec2.rule("CreateFleet", "drop", times=2)
    aws.ec2.rule("DescribeInstances", "blind", where={"by": "filter"})
    with pytest.raises(AWSError, match="the launch got no answer"):
        launch(aws, f"unanswered-{tmp_path}")
    (first,) = launched(aws, f"unanswered-{tmp_path}")
    backend = aws.backend()
    handle = backend.submit(replace(aws.job(steps=2).spec(), token=f"next-{tmp_path}"))
    assert aws.ec2.state["machines"][first]["state"] == "terminated"
    wait_for(lambda: backend.poll(handle).phase == "ended")
    backend.release(handle)


def test_after_a_refusal_the_next_try_asks_for_what_the_settings_say_then(aws, tmp_path):
    """Not for what was refused."""
    aws.ec2.rule("CreateFleet", "capacity", code="VcpuLimitExceeded", where={"type": "g5.2xlarge"})
    with pytest.raises(AWSError, match="a quota of your account is used up"):
        launch(aws, f"changed-{tmp_path}")
    record = launch(aws, f"changed-{tmp_path}", instance_type="g4dn.xlarge")
    assert record.instance_type == "g4dn.xlarge"
    end(aws, record)


def test_a_launch_that_comes_to_nothing_is_a_failed_result_of_the_manager_not_an_exception(aws, capfd):
    """With its class, AWS's words for each place, and nothing left."""
    aws.ec2.rule(
        "CreateFleet", "capacity", code="InsufficientInstanceCapacity", message="we are out of these"
    )
    result = aws.manager(use_spot=True).run(aws.job())
    assert result.status == "failed"
    assert result.failure_reason.startswith("capacity: aws: no machine is to be had now; AWS said:\n")
    assert (
        "spot g5.2xlarge in us-east-1b: InsufficientInstanceCapacity: we are out of these"
        in result.failure_reason
    )
    assert (result.instance_id, result.spot_interruption) == (None, False)
    assert "no machine is to be had now" in capfd.readouterr().err
