"""What core does for machines that are rented, over a backend of the tests."""

import signal
import threading
import time
from dataclasses import replace

import pytest

from tenyson.cloud import manager as module
from tenyson.cloud.adapted import adapted
from tenyson.cloud.backend import BaseBackend, Estimate, Handle, Observation, cost_in_words
from tenyson.cloud.manager import CloudManager
from tenyson.pipeline.graph.policy import FailurePolicy


class Rented(BaseBackend):
    """A backend whose attempts end as `ends` says, one observation each."""

    name = "rented"
    rented = True

    def __init__(self, *ends):
        self.ends = list(ends)
        self.submitted = []
        self.released = 0
        self.terminated = 0
        self.say = print

    def validate(self, spec):
        pass

    def estimate(self, spec):
        return Estimate(1.5, 12.0, "a price of the test")

    def submit(self, spec):
        self.submitted.append(spec)
        return Handle(self.name, spec.run_id, {"instance_id": f"i-{len(self.submitted)}"})

    def poll(self, handle):
        return self.ends[len(self.submitted) - 1]

    def stream_logs(self, handle, cursor=0):
        return iter(())

    def fetch_outputs(self, handle, to):
        pass

    def release(self, handle):
        self.released += 1

    def cancel(self, handle, grace_seconds):
        raise AssertionError("a rented job is left to itself")

    def terminate(self, handle):
        self.terminated += 1
        self.ends[-1] = Observation("ended", True, reason="killed", detail="ended from here")


PREEMPTED = Observation("ended", True, reason="preempted", preempted=True, detail="taken back")
RUNNING = Observation("running", True)
ENDED = Observation("ended", True, exit_code=1, preempted=True, detail="it has ended")


def test_a_preempted_attempt_is_a_failed_result_and_a_budget_goes_on_from_the_latest_checkpoint(job, capfd):
    """Without a budget: one attempt, as the specification says. The machine is given back each time."""
    backend = Rented(PREEMPTED, PREEMPTED, PREEMPTED)
    result = CloudManager(backend).run(job())
    assert (result.status, result.spot_interruption, result.instance_id) == ("failed", True, "i-1")
    assert result.failure_reason == "preempted: taken back"
    assert len(backend.submitted) == backend.released == 1
    backend = Rented(PREEMPTED, PREEMPTED, PREEMPTED)
    CloudManager(backend, max_preemptions=2).run(job())
    resumed = [spec.config["training"].get("resume_from_checkpoint") for spec in backend.submitted]
    assert resumed == [None, "latest", "latest"]
    said = capfd.readouterr().err
    assert "$1.50 an hour, at most $36.00 in 3 attempts (a price of the test)" in said
    assert "resuming from the latest checkpoint on a new one (2 of 2)" in said


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_a_rented_job_to_itself_and_twice_ends_it(job, monkeypatch, capfd, times):
    """Which is said, with the command that comes back."""
    monkeypatch.setattr(module, "DETACH_SECONDS", 0.5 if times == 1 else 60.0)
    backend = Rented(RUNNING)
    manager = CloudManager(backend)

    def press():
        for heard in (lambda: backend.submitted, lambda: manager.interrupted)[:times]:
            while not heard():
                time.sleep(0.02)
            signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    result = manager.run(job())
    thread.join()
    assert "tenyson attach job" in capfd.readouterr().err
    if times == 1:
        assert (result.status, backend.terminated, backend.released) == ("stopped", 0, 0)
        assert "the job keeps running" in result.failure_reason
    else:
        assert (result.status, backend.terminated) == ("failed", 1)


class Interrupting(Rented):
    """Ctrl-C is pressed `times` times in its `phase`: its job has ended, and is not concluded yet."""

    def __init__(self, phase, times):
        super().__init__(ENDED, ENDED)
        self.phase, self.times = phase, times

    def fetch_outputs(self, handle, to):
        self._press("fetching")

    def release(self, handle):
        self._press("giving back")
        super().release(handle)

    def _press(self, phase):
        for _ in range(self.times if phase == self.phase else 0):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("phase", ["fetching", "giving back"])
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_a_job_is_concluded_still_gives_its_machine_back(job, capfd, phase, times):
    """Its outputs, its machine and its result are not torn apart, which is said; no other attempt follows."""
    backend = Interrupting(phase, times)
    manager = CloudManager(backend, max_preemptions=1)
    result = manager.run(job())
    assert (result.run_id, result.instance_id) == ("job", "i-1")
    assert (backend.released, len(backend.submitted)) == (1, 1)
    assert manager.interrupted
    said = capfd.readouterr().err
    assert "interrupted: the job has ended; its outputs are fetched and its machine is released" in said
    assert said.count("interrupted:") == times


def test_ctrl_c_for_the_third_time_leaves_a_conclusion_that_hangs(job, capfd):
    """Nobody is kept; how to come back is said before."""
    backend = Interrupting("fetching", 3)
    with pytest.raises(KeyboardInterrupt):
        CloudManager(backend).run(job())
    assert "tenyson attach job" in capfd.readouterr().err


def test_a_policy_of_waiting_replaces_rented_machines_and_pauses_where_there_are_none():
    """Within the budget for preemptions; on a machine of one's own a person is asked."""
    own = FailurePolicy("wait", preemptions=2)
    rented = replace(own, rented=True)
    assert own.retry_after("preempted", failures=0, preemptions=0) is None
    assert rented.retry_after("preempted", failures=0, preemptions=1) == 0.0
    assert rented.retry_after("preempted", failures=0, preemptions=2) is None
    assert rented.retry_after("capacity", failures=0, preemptions=1) == 60.0
    assert rented.retry_after("user_error", failures=0, preemptions=0) is None
    assert rented.retry_after(None, failures=0, preemptions=0) is None
    assert replace(rented, on_failure="abort").retry_after("preempted", failures=0, preemptions=0) is None


def test_costs_are_told_in_words():
    """Per hour, and the worst case of all attempts."""
    assert cost_in_words(Estimate(0.0, 0.0, "")) == "nothing"
    assert cost_in_words(Estimate(1.0, None, "")) == "$1.00 an hour"
    assert cost_in_words(Estimate(1.0, 24.0, ""), attempts=2) == "$1.00 an hour, at most $48.00 in 2 attempts"


class Alone:
    """A third party's: it has the protocol's methods, and derives from nothing."""

    name = "alone"

    def __init__(self):
        self.inner = Rented(Observation("ended", True, exit_code=1, detail="over"))

    def __getattr__(self, name):
        if name in ("rented", "settings", "budget_usd", "say", "close"):
            raise AttributeError(name)
        return getattr(self.inner, name)


def test_a_backend_that_derives_from_nothing_has_the_defaults(job):
    """Only the protocol's methods are required of it."""
    backend = adapted(Alone())
    assert (backend.rented, backend.settings, backend.budget_usd) == (False, None, None)
    backend.say = print
    backend.close()
    assert adapted(backend) is backend
    assert CloudManager(Alone()).run(job()).status == "failed"


def test_what_a_backend_has_that_derives_from_nothing_is_used(job):
    """As if it had declared it."""

    class Declares(Alone):
        rented = True
        budget_usd = 3.0
        closed = 0

        def __init__(self):
            super().__init__()
            self.settings = {"region": "eu"}
            self.say = None

        def close(self):
            self.closed += 1

    own = Declares()
    backend = adapted(own)
    assert (backend.rented, backend.settings, backend.budget_usd) == (True, {"region": "eu"}, 3.0)
    backend.say = print
    backend.close()
    assert (own.say, own.closed) == (print, 1)
