"""`tenyson aws`: what is rented, clean-up, doctor, policy; through the real executable."""

import json
import subprocess
import sys

import pytest
from tests.aws.test_launch import end, launch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def tenyson(*words, **more):
    return subprocess.run(
        [sys.executable, "-m", "tenyson", "aws", *words], capture_output=True, text=True, check=False, **more
    )


def test_list_and_cleanup_find_a_machine_by_its_tags_alone(aws, tmp_path):
    """No file of the run is needed; a dry run removes nothing."""
    record = launch(aws, f"orphan-{tmp_path}")
    (aws.folder / "job" / ".controller" / "machine.json").unlink()
    listed = tenyson("list")
    assert listed.returncode == 0, listed.stderr
    assert record.instance_id in listed.stdout
    assert "ends itself by" in listed.stdout
    dry = tenyson("cleanup", "--dry-run")
    assert "1 would be removed; nothing was" in dry.stdout
    assert aws.ec2.live() == [record.instance_id]
    done = tenyson("cleanup", "--yes", "--run", "job")
    assert f"instance {record.instance_id}: removed" in done.stdout
    assert aws.ec2.live() == []
    assert "no machine of Tenyson in us-east-1" in tenyson("list").stdout


def test_cleanup_asks_first_and_takes_everything_of_ours_where_that_is_wanted(aws, tmp_path):
    """Key pairs, groups and templates cost nothing, and go only with --everything."""
    end(aws, launch(aws, f"all-{tmp_path}"))
    assert "nothing to clean up" in tenyson("cleanup").stdout
    refused = tenyson("cleanup", "--everything", input="n\n")
    assert refused.returncode == 1
    done = tenyson("cleanup", "--everything", "--yes")
    for what in ("launch template", "security group", "key pair"):
        assert f"{what} " in done.stdout
    assert "stays" not in done.stdout, done.stdout
    assert "nothing to clean up" in tenyson("cleanup", "--everything").stdout


def test_list_looks_into_every_region_that_is_asked_for(aws, tmp_path):
    """Yours, some, or all."""
    record = launch(aws, f"regions-{tmp_path}")
    assert record.instance_id not in tenyson("list", "--region", "eu-west-1").stdout
    everywhere = json.loads(tenyson("list", "--all-regions", "--json").stdout)
    assert [one["id"] for one in everywhere] == [record.instance_id]
    end(aws, record)


def test_the_doctor_tries_what_a_launch_needs_and_starts_nothing(aws, tmp_path):
    """Each line says what was tried and what came of it; settings come from the project file."""
    (tmp_path / "tenyson.yaml").write_text(json.dumps({"backend": {"aws": aws.ec2.settings}}))
    before = len(aws.ec2.state["launched"])
    told = tenyson("doctor", "--json", cwd=tmp_path)
    checks = {one["what"]: one for one in json.loads(told.stdout)}
    assert checks["credentials"]["level"] == "ok"
    assert checks["image"]["level"] == "ok"
    assert "g5.2xlarge in us-east-1a" in checks["network"]["said"]
    assert "$1.21 an hour on demand" in checks["price of g5.2xlarge"]["said"]
    assert checks["ec2:RunInstances"]["level"] == "ok"
    assert len(aws.ec2.state["launched"]) == before


@pytest.mark.parametrize(
    ("action", "code", "says"),
    [
        (
            "GetCallerIdentity",
            "InvalidClientTokenId",
            "credentials: AWS does not know you|InvalidClientTokenId",
        ),
        ("RunInstances", "UnauthorizedOperation", "ec2:RunInstances: UnauthorizedOperation"),
    ],
)
def test_the_doctor_names_what_is_refused(aws, tmp_path, action, code, says):
    """And exits with 1."""
    import re

    (tmp_path / "tenyson.yaml").write_text(json.dumps({"backend": {"aws": aws.ec2.settings}}))
    aws.ec2.rule(action, "error", code=code, message="as the test wanted")
    told = tenyson("doctor", cwd=tmp_path)
    assert told.returncode == 1
    assert re.search(says, told.stdout), told.stdout


def test_the_doctor_accepts_the_policy_that_we_print(aws, tmp_path):
    """It lets end what carries our tag; the instance of the dry run does not exist, and so carries none."""
    (tmp_path / "tenyson.yaml").write_text(json.dumps({"backend": {"aws": aws.ec2.settings}}))
    aws.ec2.rule("TerminateInstances", "error", code="UnauthorizedOperation", message="no such tag")
    told = tenyson("doctor", "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stdout
    checks = {one["what"]: one for one in json.loads(told.stdout)}
    assert checks["ec2:TerminateInstances"]["level"] == "warning"
    assert "for there the tag decides" in checks["ec2:TerminateInstances"]["said"]


def test_the_policy_is_a_document_that_names_every_call_that_is_made(aws, tmp_path):
    """Compared with the calls of a whole run: nothing is missing from it."""
    document = json.loads(tenyson("policy", "--bucket", "b", "--instance-profile", "machine").stdout)
    allowed = {
        action.partition(":")[2]
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    aws.manager().run(aws.job(steps=2))
    made = {call["action"] for call in aws.ec2.state["calls"]} - {""}
    ours = {"CreateKeyPair", "CreateBucket"}  # of other tests of the stand-in
    assert made - ours - allowed == set()


def test_a_project_file_with_something_else_is_refused_with_its_name(tmp_path):
    """File, key, and what belongs there."""
    (tmp_path / "tenyson.yaml").write_text("backends: {}\n")
    told = tenyson("list", cwd=tmp_path)
    assert told.returncode == 2
    assert "tenyson.yaml:1: backends: unknown key" in told.stderr
