"""The stand-in for EC2 itself: it must do what the tests of everything else rely on."""

import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.aws.test_launch import end, launch, launched

from tenyson.cloud.remote.ssh.connection import Connection
from tenyson.cloud.remote.ssh.errors import HostKeyError

pytestmark = pytest.mark.timeout(60)


def wait_until_booted(aws, record):
    deadline = time.monotonic() + 30
    while "tenyson-host-key" not in aws.ec2.state["machines"][record.instance_id]["console"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def machine(aws, tmp_path):
    record = launch(aws, f"machine-{tmp_path}")
    wait_until_booted(aws, record)
    yield record
    end(aws, record)


def connect(aws, record, keys=None):
    from tenyson_aws.ec2.access import find_key
    from tenyson_aws.ec2.instance import Instance

    backend = aws.backend()
    instance = Instance(backend.clients, record.instance_id, time.time())
    key = find_key(backend.clients, backend._settings).path
    address = instance.poll().address
    return Connection(address, port=2222, user="root", key=key, host_keys=keys or instance.host_keys())


@pytest.mark.slow
def test_a_machine_is_a_namespace_of_its_own_with_a_real_sshd(aws, machine):
    """Its processes, its name, its files; nothing of the checkout is seen there, and nothing that is written there is seen here."""
    connection = connect(aws, machine)
    assert connection.run(["hostname"]).decode().startswith("ip-127-")
    assert connection.run(["sh", "-c", "echo $$"]).decode().strip().isdigit()
    assert "watchdog.sh" in connection.run(["ps", "-e", "-o", "args="]).decode()
    assert connection.run(["ls", str(aws.repository)]) == b""
    connection.run(["touch", "/etc/was-here"])
    assert not (aws.repository.parent / "etc/was-here").exists()
    connection.close()


@pytest.mark.slow
def test_a_fleet_with_a_known_token_gives_the_known_answer_and_another_request_is_refused(aws, tmp_path):
    """True ClientToken semantics."""
    record = launch(aws, f"token-{tmp_path}")
    ec2 = boto3.client("ec2")
    again = ec2.create_fleet(**record.request["fleet"])
    assert again["Instances"][0]["InstanceIds"] == [record.instance_id]
    assert launched(aws, f"token-{tmp_path}") == [record.instance_id]
    changed = record.request["fleet"] | {"SpotOptions": {"AllocationStrategy": "diversified"}}
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        ec2.create_fleet(**changed)
    end(aws, record)


@pytest.mark.slow
def test_the_metadata_service_refuses_questions_without_a_token(aws, machine):
    """IMDSv2: a session first; no notice until there is one."""
    address = aws.ec2.state["machines"][machine.instance_id]["address"]
    url = f"http://{address}:1338/latest/meta-data/spot/instance-action"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=5)
    ask = urllib.request.Request(f"http://{address}:1338/latest/api/token", method="PUT")
    token = urllib.request.urlopen(ask, timeout=5).read().decode()
    question = urllib.request.Request(url, headers={"X-aws-ec2-metadata-token": token})
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(question, timeout=5)
    aws.ec2.do("notice", instance_id=machine.instance_id)
    assert b'"action": "terminate"' in urllib.request.urlopen(question, timeout=5).read()


@pytest.mark.slow
def test_a_shutdown_from_within_ends_the_machine_as_its_behaviour_says(aws, tmp_path):
    """terminate, with the reason that EC2 gives."""
    record = launch(aws, f"shutdown-{tmp_path}")
    wait_until_booted(aws, record)
    connection = connect(aws, record)
    connection.run(["sh", "-c", "setsid sh -c 'sleep 0.2; shutdown -h now' >/dev/null 2>&1 &"])
    deadline = time.monotonic() + 30
    while record.instance_id in aws.ec2.live():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = boto3.client("ec2").describe_instances(InstanceIds=[record.instance_id])
    assert (
        found["Reservations"][0]["Instances"][0]["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    )


@pytest.mark.slow
def test_an_impostor_at_a_machines_address_has_another_host_key(aws, machine, tmp_path):
    """Which is what pinning is for."""
    other = launch(aws, f"other-{tmp_path}")
    wait_until_booted(aws, other)
    aws.ec2.do("wire", instance_id=machine.instance_id, impostor=other.instance_id)
    with pytest.raises(HostKeyError):
        connect(aws, machine)
    end(aws, other)


def test_a_dropped_reply_was_carried_out(aws, tmp_path):
    """What makes tokens necessary."""
    aws.ec2.rule("CreateKeyPair", "drop", times=1)
    ec2 = boto3.client("ec2", config=boto3.session.Config(retries={"total_max_attempts": 1}))
    with pytest.raises(Exception, match=r"closed|aborted|reset"):
        ec2.create_key_pair(KeyName="dropped")
    assert ec2.describe_key_pairs(KeyNames=["dropped"])["KeyPairs"]
