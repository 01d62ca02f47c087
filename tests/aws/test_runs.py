"""A job on a rented machine, from the launch to the machine's end, with everything that goes wrong on the way."""

import json
import threading
import time

import pytest
from tests.aws.test_stand_in import connect
from tests.fakes.waiting import wait_for

from tenyson.cloud.remote.ssh import connection, session, transfer
from tenyson.testing.ticking import last_of_each_step, lines
from tenyson_aws.record import MachineRecord

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_job_runs_there_and_everything_is_here_afterwards(aws, capfd):
    """Success; log, results and checkpoints here; the machine terminated; what it costs said before."""
    result = aws.manager().run(aws.job(steps=4, save_every=2))
    assert result.status == "success", result.failure_reason
    folder = aws.folder / "job"
    lines = [line for line in (folder / "log.txt").read_text().splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["1", "2", "3", "4"]
    assert json.loads((folder / "job_result.json").read_text())["metrics"] == {"steps": 4}
    assert (folder / "checkpoints" / "step-4" / "state.json").is_file()
    assert aws.ec2.live() == []
    said = capfd.readouterr().err
    assert said.index("$1.23 an hour, at most $29.61") < said.index("ends itself at")
    assert "is terminated" in said


@pytest.mark.parametrize(
    ("do", "begins", "holds"),
    [
        ("crash", "the job failed by itself", "RuntimeError: the crash of the test"),
        ("no-result", "the job ended with exit status 0, but it left no job_result.json", ""),
        ("half-result", "the job ended with exit status 0, but its job_result.json cannot be used", ""),
        ("memory", "out_of_memory", "MemoryError"),
        ("disk", "infrastructure: the disk is full", "No space left"),
        ("user-error", "user_error", "unknown key"),
    ],
)
def test_a_failed_job_is_a_result_with_its_reason_and_the_end_of_its_log(aws, capfd, do, begins, holds):
    """As on the local backend; printed in red; no exception; no machine left."""
    result = aws.manager("fake").run(aws.job(do=do))
    assert result.status == "failed"
    assert result.failure_reason.startswith(begins), result.failure_reason
    assert holds in result.failure_reason
    assert result.instance_id.startswith("i-")
    assert result.spot_interruption is False
    assert f"job failed on {result.instance_id}" in capfd.readouterr().err


def during(aws, job, manager, act, *, at="step 3 "):
    """Run a job in a thread, and do something once its log holds `at`."""
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(manager.run(job)), daemon=True)
    thread.start()
    log = aws.folder / job.run_id / "log.txt"
    deadline = time.monotonic() + 180
    while not (log.exists() and at in log.read_text()):
        assert time.monotonic() < deadline, "the job did not come so far"
        assert thread.is_alive(), outcome
        time.sleep(0.02)
    act(MachineRecord.load(aws.folder / job.run_id).instance_id)
    thread.join(180)
    assert outcome, "the run did not end"
    return outcome[0]


def test_a_spot_notice_is_a_failed_result_with_a_checkpoint_here(aws):
    """AWSManager.run by itself makes one attempt, as the specification says."""
    manager = aws.manager(use_spot=True)
    began = []

    def notice(instance):
        began.append(time.time())
        aws.ec2.do("notice", instance_id=instance)

    result = during(aws, aws.job(steps=400), manager, notice)
    assert (result.status, result.spot_interruption) == ("failed", True)
    assert result.failure_reason.startswith(
        "preempted: AWS took the spot instance back, as it had announced; the job has saved at step"
    )
    stopped = json.loads((aws.folder / "job" / "stopped.json").read_text())
    assert stopped["reason"] == "spot notice"
    assert stopped["time"] - began[0] < 30
    assert (aws.folder / "job" / "checkpoints" / f"step-{stopped['step']}" / "manifest.json").is_file()


@pytest.mark.parametrize("how", ["notice", "reclaim"])
def test_with_a_budget_another_machine_goes_on_and_the_curve_is_the_uninterrupted_one(aws, how):
    """From the checkpoint of the notice; without one, at most one save interval is repeated."""
    manager = aws.manager(use_spot=True, max_preemptions=2)
    job = aws.job(steps=110, save_every=5)
    result = during(aws, job, manager, lambda instance: aws.ec2.do(how, instance_id=instance), at="step 17 ")
    assert result.status == "success", result.failure_reason
    folder = aws.folder / "job"
    assert last_of_each_step(aws.log()) == lines(110)
    steps = [line for line in (folder / "log.txt").read_text().splitlines() if line.startswith("step ")]
    # What had come here of the log by then is ahead of the checkpoint that had.
    assert len(steps) - 110 <= (0 if how == "notice" else 5 + 9)
    assert MachineRecord.load(folder / "earlier" / "1").instance_id != MachineRecord.load(folder).instance_id


def test_a_machine_that_is_taken_back_while_it_boots_is_a_preemption_too(aws):
    """There is nothing to resume from, and the next attempt begins."""
    aws.ec2.do("boot", seconds=3)
    manager = aws.manager(use_spot=True, max_preemptions=1)
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(manager.run(aws.job(steps=3))), daemon=True)
    thread.start()
    while (record := MachineRecord.load(aws.folder / "job")) is None or record.instance_id is None:
        time.sleep(0.05)
    aws.ec2.do("boot", seconds=0)
    aws.ec2.do("reclaim", instance_id=record.instance_id)
    thread.join(180)
    assert outcome[0].status == "success", outcome[0].failure_reason


def test_a_network_that_stalls_for_ten_minutes_starts_nothing_anew_and_loses_no_line(aws, monkeypatch):
    """On a clock forty times as fast: the job is healthy, AWS says so, and the log is the same to the byte."""
    for module, name in (
        (connection, "KEEPALIVE_SECONDS"),
        (connection, "CONNECT_SECONDS"),
        (session, "LONGEST_PAUSE_SECONDS"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) / 40)

    def stall(instance):
        aws.ec2.do("wire", instance_id=instance, stalled=True)
        time.sleep(600 / 40)
        aws.ec2.do("wire", instance_id=instance, stalled=False)

    job = aws.job(steps=190)
    result = during(aws, job, aws.manager(), stall)
    assert result.status == "success", result.failure_reason
    assert aws.log() == lines(190)


def test_connections_that_die_again_and_again_lose_no_line(aws):
    """Each poll continues where the last one was cut."""

    def cut(instance):
        for _ in range(12):
            time.sleep(0.4)
            aws.ec2.do("wire", instance_id=instance, cut=True)

    result = during(aws, aws.job(steps=100, pad=3_000_000), aws.manager(), cut)
    assert result.status == "success", result.failure_reason
    assert aws.log() == lines(100)


SLOW_SUMS = """
import _hashlib, time
class sha256:
    def __init__(self):
        self._real = _hashlib.openssl_sha256()
    def update(self, data):
        time.sleep({seconds} if len(data) > 100_000 else 0)
        self._real.update(data)
    def hexdigest(self):
        return self._real.hexdigest()
"""


def make_sums_slow(aws, instance, seconds):
    """Of each MB, on that machine."""
    link = connect(aws, MachineRecord.load(aws.folder / "job"))
    transfer.send_texts(link, {f"{transfer.TOOLS}/hashlib.py": SLOW_SUMS.format(seconds=seconds)})
    link.close()


def test_outputs_whose_sums_take_longer_than_the_network_is_waited_for_are_fetched(aws, monkeypatch):
    """Some tens of GB from a disk of 125 MB a second: the machine says that it is at work."""
    monkeypatch.setattr(transfer, "TRANSFER_SECONDS", 9.0)
    job = aws.job(steps=40, save_every=40, pad=12 << 20)
    result = during(aws, job, aws.manager(), lambda instance: make_sums_slow(aws, instance, 1.2))
    assert result.status == "success", result.failure_reason
    assert (aws.folder / "job" / "checkpoints" / "step-40" / "pad").stat().st_size == 12 << 20


def test_connections_that_end_before_all_is_here_are_told(aws, monkeypatch, capfd):
    """Each one alone is no news; several in a row cost money."""
    monkeypatch.setattr(transfer, "TRANSFER_SECONDS", 2.0)
    job = aws.job(steps=40, save_every=40, pad=3 << 20)

    def slow_for_a_while(instance):
        make_sums_slow(aws, instance, 3)
        told = "3 times in a row the connection ended before all was here (the machine did not answer within 2 s)"
        wait_for(lambda: told in capfd.readouterr().err, seconds=60)
        make_sums_slow(aws, instance, 0.0)  # of another size: Python keeps what it compiled

    result = during(aws, job, aws.manager(), slow_for_a_while)
    assert result.status == "success", result.failure_reason


def test_a_machine_that_is_being_read_from_is_not_idle(aws):
    """However long a download takes: the watchdog would end it in the middle."""

    def slow(instance):
        aws.ec2.do("wire", instance_id=instance, pace=2 << 20)

    job = aws.job(steps=20, save_every=20, pad=40 << 20)
    result = during(aws, job, aws.manager(idle_minutes=0.1), slow)
    assert result.status == "success", result.failure_reason


def test_a_machine_that_dies_before_its_outputs_are_here_is_a_loss_not_a_success(aws):
    """The result file is not here, so nobody calls it a success."""
    result = during(
        aws, aws.job(steps=400), aws.manager(), lambda instance: aws.ec2.do("crash", instance_id=instance)
    )
    assert result.status == "failed"
    assert result.failure_reason.startswith("lost: the machine is gone: Server.InternalError"), (
        result.failure_reason
    )
    assert result.spot_interruption is False


def test_a_machine_that_dies_while_its_outputs_are_fetched_is_a_loss_although_the_job_had_succeeded(aws):
    """Exit status 0 is no success before everything is here and has the right sums."""
    instances = []

    def stall_until_it_has_ended(instance):
        instances.append(instance)
        aws.ec2.do("wire", instance_id=instance, stalled=True)
        time.sleep(4)
        aws.ec2.do("crash", instance_id=instance)

    result = during(aws, aws.job(steps=20), aws.manager(), stall_until_it_has_ended)
    assert (result.status, result.spot_interruption) == ("failed", False)
    assert result.failure_reason.startswith("lost: "), result.failure_reason
    assert "step 20" not in (aws.folder / "job" / "log.txt").read_text()


def test_another_host_key_at_the_address_gets_not_a_byte(aws, capfd):
    """A recycled address, or somebody in between: nothing is sent, and the machine is given back by AWS's own word."""
    other = aws.backend()
    decoy = other.submit(aws.job("decoy", steps=1000).spec())
    deadline = time.monotonic() + 120
    while other.poll(decoy).phase != "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)

    told = "has not the host key that the machine's console showed"

    def swap(instance):
        aws.ec2.do("wire", instance_id=instance, impostor=decoy.data["instance_id"], cut=True)
        deadline = time.monotonic() + 60
        while told not in capfd.readouterr().err:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        aws.ec2.do("crash", instance_id=instance)

    result = during(aws, aws.job(steps=1000), aws.manager(), swap)
    assert result.status == "failed"
    other.terminate(decoy)


def test_terminate_that_fails_is_throttled_and_lies_is_asked_for_until_it_is_true(aws):
    """What AWS answers to the call counts for nothing; that it says `terminated` does."""
    aws.ec2.rule("TerminateInstances", "error", code="RequestLimitExceeded", times=2)
    aws.ec2.rule("TerminateInstances", "lie", times=2)
    result = aws.manager().run(aws.job(steps=2))
    assert result.status == "success"
    assert aws.ec2.live() == []
    calls = [call for call in aws.ec2.state["calls"] if call["action"] == "TerminateInstances"]
    assert len(calls) >= 5


def test_ctrl_c_in_the_middle_gives_the_machine_back_on_the_second_one(aws):
    """terminate: at once, and confirmed."""
    manager = aws.manager()
    result = during(
        aws,
        aws.job(steps=1000),
        manager,
        lambda _: manager.backend.terminate(manager.backend.reattach("job")),
    )
    assert result.failure_reason.startswith("killed: the job was ended from here")
    assert aws.ec2.live() == []


def test_cancel_lets_the_job_save_and_end(aws):
    """As Ctrl-C does on a machine of one's own."""
    manager = aws.manager()
    result = during(
        aws,
        aws.job(steps=1000),
        manager,
        lambda _: manager.backend.cancel(manager.backend.reattach("job"), 30),
    )
    assert (result.status, result.stop_reason) == ("stopped", "SIGTERM")
    assert aws.job().spec().folder.joinpath("checkpoints/LATEST").is_file()
