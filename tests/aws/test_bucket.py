"""With a bucket: what a job makes waits in S3, each attempt's files by themselves, and machines hand checkpoints on there."""

import json
import time

import boto3
import pytest
from tests.aws.test_runs import during
from tests.aws.test_unattended import attach, begin_and_leave, state_of
from tests.fakes.waiting import wait_for

from tenyson.testing.ticking import last_of_each_step, lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def in_bucket(bucket):
    return [entry["Key"] for entry in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())]


@pytest.mark.parametrize("how", ["reclaim", "notice"])
def test_with_a_bucket_the_next_machine_takes_the_checkpoint_from_there(aws, how):
    """Nothing but what is in the bucket travels; the checkpoint that a notice makes is there before its machine is given back."""
    boto3.client("s3").create_bucket(Bucket=f"handed-on-{how}")
    manager = aws.manager(use_spot=True, max_preemptions=1, bucket=f"handed-on-{how}")
    job = aws.job(steps=170, save_every=10 if how == "reclaim" else 10_000)
    result = during(aws, job, manager, lambda instance: aws.ec2.do(how, instance_id=instance), at="step 78 ")
    assert result.status == "success", result.failure_reason
    assert "resuming from step" in (aws.folder / "job" / "log.txt").read_text()
    assert last_of_each_step(aws.log()) == lines(170)
    if how == "notice":
        assert [line for line in aws.log() if line.startswith("step ")] == lines(170)


def test_with_a_bucket_everything_is_in_it_when_a_run_is_over(aws, capfd):
    """The machine is given back once its guard has said so."""
    boto3.client("s3").create_bucket(Bucket="all-of-it")
    result = aws.manager(bucket="all-of-it").run(aws.job(steps=8, save_every=4))
    assert result.status == "success", result.failure_reason
    keys = {key.rpartition("job/")[2] for key in in_bucket("all-of-it")}
    assert {"log.txt", "results.json", "job_result.json", "exit_status.json"} <= {
        key.rpartition("/")[2] for key in keys
    }
    assert any(key.endswith("checkpoints/step-8/manifest.json") for key in keys)
    assert not (aws.folder / "job" / "checkpoints").exists()
    assert "its files go to all-of-it" in capfd.readouterr().err


def test_a_bucket_that_cannot_be_written_to_sends_the_checkpoint_here(aws, capfd):
    """As soon as the machine says so: with a notice there is not much time."""
    boto3.client("s3").create_bucket(Bucket="shut")
    manager = aws.manager(use_spot=True, bucket="shut")

    def shut_and_notice(instance):
        aws.ec2.rule("PutObject", "error", code="AccessDenied")
        aws.ec2.do("notice", instance_id=instance)

    result = during(aws, aws.job(steps=400, save_every=10_000), manager, shut_and_notice)
    assert result.failure_reason.startswith("preempted: "), result.failure_reason
    stopped = json.loads((aws.folder / "job" / "stopped.json").read_text())
    assert (aws.folder / "job" / "checkpoints" / f"step-{stopped['step']}" / "manifest.json").is_file()
    said = capfd.readouterr().err
    assert "not all is in shut, so checkpoints come here: " in said
    assert "AccessDenied" in said


def test_a_lost_attempt_takes_no_result_from_an_earlier_ones_files_in_the_bucket(aws):
    """Both have one run id; the earlier one succeeded, and its files lie beside."""
    boto3.client("s3").create_bucket(Bucket="beside")
    assert aws.manager(bucket="beside").run(aws.job(steps=4)).status == "success"
    aws.close()
    manager = aws.manager(bucket="beside")
    job = aws.job(steps=400)
    result = during(
        aws, job, manager, lambda instance: aws.ec2.do("crash", instance_id=instance), at="step 12 "
    )
    assert result.failure_reason.startswith("lost: "), (result.status, result.failure_reason)
    assert not (aws.folder / "job" / "job_result.json").exists()
    assert "step 12 " in (aws.folder / "job" / "log.txt").read_text()


def test_an_attempt_goes_on_from_no_checkpoint_of_a_run_that_was_begun_anew(aws):
    """Begun from scratch, lost before its first checkpoint, and begun once more: the older run's checkpoint is not its own."""
    boto3.client("s3").create_bucket(Bucket="anew")
    aws.manager(bucket="anew").run(aws.job(steps=8, save_every=4))
    aws.close()
    manager = aws.manager(use_spot=True, max_preemptions=1, bucket="anew")
    job = aws.job(steps=30, save_every=1000)
    result = during(
        aws, job, manager, lambda instance: aws.ec2.do("reclaim", instance_id=instance), at="step 12 "
    )
    assert result.status == "success", result.failure_reason
    assert "resuming from step" not in (aws.folder / "job" / "log.txt").read_text()
    assert last_of_each_step(aws.log()) == lines(30)


def test_a_bucket_that_is_not_there_is_told_before_the_job_starts(aws):
    """Not at its end, when there is something to lose."""
    result = aws.manager(bucket="no-such-bucket").run(aws.job(steps=4))
    assert result.status == "failed"
    assert "no-such-bucket: the bucket cannot be used from the machine: " in result.failure_reason
    assert "`tenyson aws policy --machine --bucket NAME`" in result.failure_reason


def test_a_notice_is_heard_while_a_checkpoint_is_on_its_way_to_the_bucket(aws):
    """An upload that takes longer than the two minutes that AWS leaves must not take them."""
    boto3.client("s3").create_bucket(Bucket="slow")
    manager = aws.manager(use_spot=True, bucket="slow")
    began = []

    def notice_during_an_upload(instance):
        aws.ec2.rule("PutObject", "delay", seconds=25, times=1)
        now = time.time()
        wait_for(
            lambda: any(
                call["action"] == "PutObject" and call["time"] > now for call in aws.ec2.state["calls"]
            )
        )
        began.append(time.time())
        aws.ec2.do("notice", instance_id=instance)

    job = aws.job(steps=1000, save_every=10)
    result = during(aws, job, manager, notice_during_an_upload)
    assert result.failure_reason.startswith("preempted: "), result.failure_reason
    stopped = json.loads((aws.folder / "job" / "stopped.json").read_text())
    assert stopped["time"] - began[0] < 20
    keys = in_bucket("slow")
    assert any(key.endswith(f"checkpoints/step-{stopped['step']}/manifest.json") for key in keys), keys


def test_the_last_files_are_sent_again_until_they_are_in_the_bucket(aws):
    """Also when nobody is there any more; a machine that still sends is not idle."""
    boto3.client("s3").create_bucket(Bucket="at-last")
    instance, _ = begin_and_leave(
        aws, aws.job(steps=60, save_every=1000), bucket="at-last", idle_minutes=0.25
    )
    aws.ec2.rule("PutObject", "error", code="AccessDenied", times=2)
    aws.ec2.rule("PutObject", "delay", seconds=20, times=1)
    wait_for(lambda: state_of(aws, instance) == "terminated")
    assert any(key.endswith("/exit_status.json") for key in in_bucket("at-last"))
    told = attach(aws)
    assert told.returncode == 0, told.stderr
