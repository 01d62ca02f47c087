"""A job at Modal, from the launch to the app's end, with everything that goes wrong on the way."""

import json
import os
import subprocess
import sys
import time

import pytest
from tests.fakes.waiting import wait_for

from tenyson.errors import BackendError
from tenyson.jobs.checkpoints.publication import check
from tenyson.testing.ticking import last_of_each_step, lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def steps_in(log):
    return [line for line in log if line.startswith("step ")]


def test_a_job_runs_there_and_everything_is_here_and_in_the_volume_afterwards(modal, capfd):
    """Success; log, results and checkpoints in both places; the app stopped; what it costs said before."""
    result = modal.manager().run(modal.job(steps=4, save_every=2))
    assert result.status == "success", result.failure_reason
    assert modal.log() == lines(4)
    assert modal.result()["metrics"] == {"steps": 4}
    for folder in (modal.folder / "job", modal.kept()):
        assert check(folder / "checkpoints" / "step-4") is None
        assert (folder / "log.txt").read_text().splitlines() == lines(4)
    assert modal.live() == []
    said = capfd.readouterr().err
    assert said.index("$0.05 an hour, at most $1.23") < said.index("it ends itself after 24 h of work")
    assert "is stopped" in said


def test_a_job_that_fails_is_a_failed_result_with_the_end_of_its_log_printed_in_red(modal, capfd):
    """As on the local backend; no exception; nothing runs on; Modal does not try it again."""
    result = modal.manager().run(modal.job(steps=9, fail_at=3))
    assert result.status == "failed"
    assert result.failure_reason.startswith("the job failed by itself (exit status 1)"), result.failure_reason
    assert "RuntimeError: told to fail here" in result.failure_reason
    assert result.instance_id.startswith("fc-")
    assert result.spot_interruption is False
    assert f"job failed on {result.instance_id}" in capfd.readouterr().err
    assert len(modal.cloud.containers()) >= 1
    assert len([one for one in modal.cloud.containers() if one["call_id"] == result.instance_id]) == 1


def test_a_preempted_job_goes_on_in_another_container_without_a_step_lost_or_repeated(modal, capfd):
    """Modal's signal leaves half a minute, in which the job saves; the run does not even fail."""
    job = modal.job(steps=80, save_every=100)
    result = modal.during(
        job, modal.manager(), lambda record: modal.cloud.preempt(record.call_id), at="step 17 "
    )
    assert result.status == "success", result.failure_reason
    assert steps_in(modal.log()) == lines(80)
    assert "Modal preempted the container; another one resumes from the checkpoint" in capfd.readouterr().err
    assert not (modal.folder / "job" / "spot-notice").exists()
    assert len([one for one in modal.cloud.containers() if one["call_id"] == modal.record().call_id]) == 2


def test_a_container_that_dies_without_a_word_costs_a_save_interval_at_most(modal):
    """Its host failed: the next one goes on from the last checkpoint in the volume."""
    job = modal.job(steps=70, save_every=5)
    result = modal.during(
        job, modal.manager(), lambda record: modal.cloud.kill(record.call_id, "host"), at="step 33 "
    )
    assert result.status == "success", result.failure_reason
    assert last_of_each_step(modal.log()) == lines(70)
    assert len(steps_in(modal.log())) - 70 <= 5 + 15


def test_containers_that_are_taken_away_too_often_end_the_attempt_as_preempted(modal):
    """The budget is the setting `preemptions`; what was saved is here for the next attempt."""
    manager = modal.manager(preemptions=0, max_preemptions=1)
    job = modal.job(steps=60)
    result = modal.during(job, manager, lambda record: modal.cloud.preempt(record.call_id), at="step 9 ")
    assert result.status == "success", result.failure_reason
    assert last_of_each_step(modal.log()) == lines(60)
    first = json.loads((modal.folder / "job" / "earlier" / "1" / ".controller" / "machine.json").read_text())
    assert first["lost"]["preempted"] is True
    assert first["lost"]["detail"] == "Modal preempted the container 1 times"


def test_another_attempt_that_could_cost_more_than_the_budget_is_not_begun(modal, capfd):
    """The first one may take all of it; what it has saved is here."""
    manager = modal.manager(preemptions=0, max_preemptions=1, budget_usd=1.23)
    job = modal.job(steps=400)
    result = modal.during(job, manager, lambda record: modal.cloud.preempt(record.call_id), at="step 9 ")
    assert result.status == "failed"
    assert "together more than backend.settings.budget_usd (1.23)" in result.failure_reason
    assert list((modal.folder / "job" / "checkpoints").glob("step-*"))
    assert "at most $1.23 in up to 2 attempts (budget_usd)" in capfd.readouterr().err


def test_without_a_budget_the_result_says_that_it_was_preempted(modal):
    """`spot_interruption`, as at AWS."""
    manager = modal.manager(preemptions=0)
    job = modal.job(steps=400)
    result = modal.during(job, manager, lambda record: modal.cloud.preempt(record.call_id), at="step 9 ")
    assert (result.status, result.spot_interruption) == ("failed", True)
    assert result.failure_reason.startswith("preempted: "), result.failure_reason


def test_memory_that_runs_out_is_tried_again_so_often_and_told_with_its_reason(modal):
    """Retries used up, of which a longest time of one container leaves none over."""
    manager = modal.manager(restarts=1, max_hours=23)
    killed = []

    def kill(record):
        for _ in range(2):
            wait_for(lambda: running(modal, record.call_id) not in (None, *killed))
            killed.append(running(modal, record.call_id))
            modal.cloud.kill(record.call_id, "oom")

    result = modal.during(modal.job(steps=4000), manager, kill)
    assert result.status == "failed"
    assert result.failure_reason.startswith(("out_of_memory: ", "infrastructure: the container died")), (
        result.failure_reason
    )
    assert "memory" in result.failure_reason
    assert result.spot_interruption is False


def running(modal, call):
    """The task that works on a call and has begun to write."""
    return next(
        (one["task_id"] for one in modal.cloud.containers() if one["call_id"] == call and one["running"]),
        None,
    )


def test_a_job_that_needs_longer_than_a_container_may_work_is_chained_by_its_checkpoint(modal, capfd):
    """A day at Modal, 16 seconds here; no step is lost or done twice."""
    manager = modal.manager(timeout=16, max_hours=0.02)
    result = manager.run(modal.job(steps=190, save_every=1000))
    assert result.status == "success", result.failure_reason
    assert steps_in(modal.log()) == lines(190)
    assert "the container's time was over; another one resumes from the checkpoint" in capfd.readouterr().err


def test_a_chain_of_containers_lasts_for_the_whole_longest_time(modal):
    """Each leaves some of its time for saving: the last one is not missing for that."""
    manager = modal.manager(timeout=16, max_hours=30 / 3600, restarts=0)
    result = manager.run(modal.job(steps=4000))
    assert result.status == "failed"
    assert "its longest time is over (max_hours: 0.00833333)" in result.failure_reason


def test_a_job_saves_and_ends_when_its_longest_time_is_over(modal):
    """`max_hours` bounds what it costs; the result is a failure by timeout with a checkpoint here."""
    result = modal.manager(max_hours=12 / 3600).run(modal.job(steps=4000))
    assert result.status == "failed"
    assert result.failure_reason.startswith("timeout: "), result.failure_reason
    step = json.loads((modal.folder / "job" / "stopped.json").read_text())["step"]
    assert check(modal.folder / "job" / "checkpoints" / f"step-{step}") is None


def test_the_time_in_the_queue_is_not_the_jobs(modal):
    """`max_hours` counts from the beginning of its first container: the queue costs nothing."""
    modal.cloud.capacity("L4", available=False)
    backend = modal.backend(gpu="L4", max_hours=15 / 3600)
    handle = backend.submit(modal.job(steps=20).spec("queued"))
    time.sleep(16)
    modal.cloud.capacity("L4", available=True)
    seen = wait_for(lambda: (seen := backend.poll(handle)).phase == "ended" and seen)
    backend.release(handle)
    assert (seen.exit_code, seen.reason) == (0, None), seen


FREEZE_SECONDS = float(os.environ.get("TENYSON_OUTAGE_SECONDS", "12"))
"""30 in `make soak`; more than a call may take (5), and than a container's lease lasts (10)."""


def test_the_control_plane_may_freeze_and_no_line_is_lost_or_doubled(modal):
    """The job does not notice, and is still at work afterwards; whoever waits waits."""

    def freeze(_):
        modal.cloud.freeze(FREEZE_SECONDS)

    steps = int(15 * FREEZE_SECONDS)
    result = modal.during(modal.job(steps=steps), modal.manager(), freeze)
    assert result.status == "success", result.failure_reason
    assert modal.log() == lines(steps)


def test_calls_that_fail_now_and_then_lose_nothing(modal):
    """Of reading, committing and asking."""
    for rpc in ("VolumeGetFile2", "VolumeCommit", "FunctionGetOutputs", "DictGet"):
        modal.cloud.fail(rpc, times=4)
    result = modal.manager().run(modal.job(steps=60))
    assert result.status == "success", result.failure_reason
    assert modal.log() == lines(60)


def test_a_result_that_modal_no_longer_keeps_is_in_the_volume(modal):
    """The call was over for weeks; the run is a success all the same."""
    backend = modal.backend()
    spec = modal.job(steps=5).spec("old")
    handle = backend.submit(spec)
    call = handle.data["instance_id"]
    backend.close()
    wait_for(lambda: modal.cloud.call(call)["status"] == "success")
    modal.cloud.expire(call)
    later = modal.backend()
    handle = later.submit(spec)
    seen = wait_for(lambda: (seen := later.poll(handle)).phase == "ended" and seen)
    assert (seen.exit_code, seen.reason) == (0, None)
    later.release(handle)
    assert modal.log() == lines(5)


def test_no_capacity_is_told_as_such_and_nothing_stays_in_the_queue(modal):
    """After `queue_minutes`."""
    modal.cloud.capacity("H100", available=False)
    result = modal.manager(gpu="H100", queue_minutes=3 / 60).run(modal.job(steps=1))
    assert result.status == "failed"
    assert result.failure_reason.startswith("capacity: Modal had no H100 for 0.05 minutes"), (
        result.failure_reason
    )


def test_a_fallback_is_taken_where_the_first_gpu_is_not_to_be_had(modal):
    """In the order of the settings."""
    modal.cloud.capacity("H100", available=False)
    result = modal.manager(gpu=["H100", "A100-80GB"]).run(modal.job(steps=1))
    assert result.status == "success", result.failure_reason
    assert [one["gpu"] for one in modal.cloud.containers()][-1] == "A100-80GB"


ASK = """
import sys
from tenyson.cloud.modal import ModalManager
from tenyson.jobs.spec import JobSpec
class Job:
    def spec(self):
        return JobSpec("job", "sft", "none:None", {"run": {"id": "job", "output_dir": sys.argv[1]}, "model": {"name": "none"}})
result = ModalManager().run(Job())
print(result.status, result.failure_reason)
"""


def test_a_bad_token_is_told_before_anything_is_made(modal, monkeypatch):
    """A failed result, with the command that makes a good one."""
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-wrong")
    # The client keeps its connection, and with it the token: a process of its own has neither.
    command = [sys.executable, "-c", ASK, str(modal.folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("failed auth: modal: Modal refuses: ")
    assert "modal token new" in told


def test_a_secret_that_is_not_there_is_named(modal):
    """Before anything is launched."""
    with pytest.raises(BackendError, match="no-such-secret"):
        modal.manager(secrets=["no-such-secret"]).run(modal.job(steps=1))


def test_modals_absence_at_the_launch_is_a_failed_result_and_nothing_is_left(modal, capfd):
    """The client tries for a while; the manager does not raise."""
    modal.cloud.fail("AppCreate", times=1000)
    result = modal.manager().run(modal.job(steps=1))
    assert result.status == "failed"
    assert result.failure_reason.startswith("infrastructure: modal: Modal launches no container"), (
        result.failure_reason
    )
    assert "Run the same command again to continue" in capfd.readouterr().err


def test_secrets_reach_the_job_by_their_names(modal, monkeypatch):
    """Modal's own, those of here that are forwarded, and those that the configuration names."""
    modal.cloud.set_secret("of-modal", {"FROM_MODAL": "one"})
    monkeypatch.setenv("FROM_HERE", "two")
    monkeypatch.setenv("HF_TOKEN", "hf_three")
    show = "import os; print([len(os.environ[name]) for name in ('FROM_MODAL', 'FROM_HERE', 'HF_TOKEN')])"
    manager = modal.manager(("-c", show), secrets=["of-modal"], forward_env=["FROM_HERE"])
    result = manager.run(modal.job())
    assert "it left no job_result.json" in result.failure_reason
    assert modal.log() == ["[3, 3, 8]"]


def test_a_budget_below_the_worst_case_refuses_with_the_arithmetic(modal):
    """Price times hours."""
    with pytest.raises(BackendError, match=r"budget_usd \(5\): \$3.95 an hour, at most \$94") as caught:
        modal.manager(gpu="H100", cpu=0.01, memory=1, budget_usd=5).run(modal.job(steps=1))
    assert caught.value.reason == "user_error"


@pytest.mark.parametrize(
    ("rpc", "status"),
    [("FunctionGetOutputs", "RESOURCE_EXHAUSTED"), ("VolumeGetFile2", "UNAUTHENTICATED")],
)
def test_a_rate_limit_or_a_refused_token_is_waited_for_while_the_job_goes_on(modal, capfd, rpc, status):
    """What Modal says of our asking says nothing of the job."""
    result = modal.during(
        modal.job(steps=80),
        modal.manager(),
        lambda _: modal.cloud.fail(rpc, times=2, status=status, message="not so fast"),
    )
    assert result.status == "success", result.failure_reason
    assert steps_in(modal.log()) == lines(80)
    said = capfd.readouterr().err
    assert "the job keeps running: " in said
    assert "not so fast" in said


def test_a_job_whose_outputs_cannot_be_written_here_goes_on_and_is_attached_to(modal, tmp_path, capfd):
    """A full disk of this machine is no reason to stop what runs at Modal."""
    in_the_way = modal.folder / "job" / "checkpoints"
    result = modal.during(
        modal.job(steps=150, save_every=40),
        modal.manager(),
        lambda _: in_the_way.write_text("where the checkpoints are to go"),
    )
    assert result.status == "failed"
    assert "tenyson attach job" in result.failure_reason
    assert "is not stopped: what its job made is not here yet" in capfd.readouterr().err
    assert not modal.record().released, "the app ends by itself, soon after its job"
    in_the_way.unlink()
    modal.close()
    told = subprocess.run(
        [sys.executable, "-m", "tenyson", "attach", "job"], capture_output=True, text=True, check=False, cwd=tmp_path
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert steps_in(modal.log()) == lines(150)
    assert modal.live() == []


@pytest.mark.parametrize("phase", ["queued", "running", "ended"])
def test_a_job_is_cancelled_in_every_phase(modal, phase):
    """In the queue it is withdrawn; while it runs it saves and ends."""
    if phase == "queued":
        modal.cloud.capacity("T4", available=False)
    backend = modal.backend(gpu="T4" if phase == "queued" else None)
    handle = backend.submit(modal.job(steps=2 if phase == "ended" else 4000).spec("cancelled"))
    if phase == "running":
        wait_for(lambda: steps_in(modal.log()))
    if phase == "ended":
        wait_for(lambda: backend.poll(handle).phase == "ended")
    backend.cancel(handle, 30)
    seen = wait_for(lambda: (seen := backend.poll(handle)).phase == "ended" and seen, seconds=60)
    assert seen.exit_code == (0 if phase == "ended" else 130)
    backend.release(handle)
    if phase == "queued":
        assert seen.detail == "it was cancelled before its job began"
    if phase == "running":
        stopped = json.loads((modal.folder / "job" / "stopped.json").read_text())
        assert check(modal.folder / "job" / "checkpoints" / f"step-{stopped['step']}") is None


def test_a_call_that_is_cancelled_at_modal_saves_first(modal):
    """The entrypoint handles Modal's signal: the job gets SIGTERM, saves, and what it saved is here."""
    import modal as client

    def cancel(record):
        client.FunctionCall.from_id(record.call_id).cancel()

    result = modal.during(modal.job(steps=4000), modal.manager(), cancel, at="step 7 ")
    assert result.status in ("stopped", "failed")
    assert (modal.folder / "job" / "stopped.json").exists(), result.failure_reason
    step = json.loads((modal.folder / "job" / "stopped.json").read_text())["step"]
    assert check(modal.folder / "job" / "checkpoints" / f"step-{step}") is None


def test_an_app_that_is_stopped_at_modal_is_a_failure_and_what_was_saved_is_here(modal):
    """Somebody pressed a button on the dashboard."""
    result = modal.during(
        modal.job(steps=4000), modal.manager(), lambda record: modal.cloud.stop(record.app_id), at="step 12 "
    )
    assert result.status in ("failed", "stopped"), result
    assert list((modal.folder / "job" / "checkpoints").glob("step-*"))


def test_requests_reach_the_job_once_and_in_order(modal):
    """Lines of its control file, through the Dict."""
    from tenyson_modal.api.naming import attempt_key
    from tenyson_modal.app.launch import control
    from tenyson_modal.exchange.requests import Requests

    backend = modal.backend()
    handle = backend.submit(modal.job(steps=4000).spec("asked"))
    wait_for(lambda: steps_in(modal.log()))
    entries = control(backend._settings)
    Requests(["pause id=1"]).write(entries, attempt_key("asked"))
    Requests(["pause id=1", "resume id=2"]).write(entries, attempt_key("asked"))

    def taken():
        found = list(modal.kept().glob(".tenyson/*/state.json"))
        return found and json.loads(found[0].read_text()).get("taken")

    # The ticking job reads no control file: it stays as it was handed over.
    wait_for(lambda: taken() == 2)
    backend.cancel(handle, 30)
    wait_for(lambda: backend.poll(handle).phase == "ended")
    backend.release(handle)
    assert taken() == 2


def test_a_job_that_does_not_exit_once_its_result_is_written_is_ended_and_stands(modal, monkeypatch):
    """A container is not paid for until its time is over."""
    from tests.fakes.lingering_job import CODE

    monkeypatch.setenv("TENYSON_EXIT_GRACE", "0.5")
    manager = modal.manager(runner=["-c", CODE], forward_env=["TENYSON_EXIT_GRACE"])
    result = manager.run(modal.job(status="success"))
    assert result.status == "success", result.failure_reason
    assert any("does not exit" in line for line in modal.log())
