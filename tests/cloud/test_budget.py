"""What a run may cost: told before, and kept to, however often its machine is taken back."""

import time
from types import SimpleNamespace

import pytest

from tenyson.cloud.backend import Estimate, cost_in_words
from tenyson.cloud.manager import CloudManager
from tenyson.cloud.remote.backend import RemoteBackend
from tenyson.cloud.remote.mirror import Mirror
from tenyson.cloud.remote.record import Record
from tenyson.cloud.remote.session import Session
from tenyson.pipeline.control.launcher import BackendLauncher
from tenyson.pipeline.graph.policy import FailurePolicy

DOLLARS = 1.0
"""An hour."""


class Attempt(Record):
    """One machine, whose name is its attempt's token."""

    @property
    def machine(self):
        return self.token


class TakenBack(Session):
    """Every machine is taken back."""

    def _supervise(self):
        return self._lost("preempted", "taken back", preempted=True)

    def _poll(self, control, *, final):
        raise AssertionError

    def _give_back(self):
        pass


class Spot(RemoteBackend):
    """Machines that are taken back after `hours`, of a clock that this test puts forward."""

    name = "spot"
    record_class = Attempt

    def __init__(self, folder, hours, **settings):
        super().__init__(settings, folder)
        self._settings = SimpleNamespace(**{"budget_usd": None, "max_hours": 29.0} | settings)
        self.hours = hours
        self.launched = 0

    def validate(self, spec):
        self._refuse_beyond(self.budget_usd, self.estimate(spec), "Lower max_hours")

    def estimate(self, spec):
        return Estimate(DOLLARS, DOLLARS * self._settings.max_hours, "a price of the test")

    def release(self, handle):
        session = self._session(handle)
        session.record.released = True
        session.record.times["released"] = session.record.launched_at + self.hours * 3600
        session.record.save(session.folder)

    def list(self):
        return []

    def _launch(self, record, folder):
        self.launched += 1
        record.launched_at = time.time()
        record.save(folder)

    def _find(self, run_id, folder):
        return None

    def _new_session(self, record, folder):
        return TakenBack(record, folder, Mirror(folder), self._say)

    def _give_back(self, record, folder):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hours", "budget", "launched"),
    [
        (10, 30, 1),  # 10 + 29 > 30
        (10, 100, 8),  # 70 + 29 <= 100 < 80 + 29
        (0.1, 30, 11),  # 10 x 0.1 + 29 <= 30
        (500, 60, 2),  # no machine outlives its longest time: 29 + 29 <= 60 < 58 + 29
        (10, None, 21),
    ],
)
def test_attempts_go_on_until_one_more_could_cost_more_than_the_budget(
    job, tmp_path, capfd, hours, budget, launched
):
    """The next one may always take its whole worst case; what is refused says which knob to turn."""
    backend = Spot(tmp_path, hours, **({"budget_usd": budget} if budget else {}))
    result = CloudManager(backend, max_preemptions=20).run(job())
    backend.close()
    assert (result.status, backend.launched) == ("failed", launched)
    said = capfd.readouterr().err
    if budget is None:
        assert "at most $609.00 in 21 attempts" in said
        return
    assert f"at most ${budget:.2f} in up to 21 attempts (budget_usd)" in said
    assert f"together more than backend.settings.budget_usd ({budget:g})" in result.failure_reason
    assert "Raise the budget, or lower max_hours" in result.failure_reason


def test_a_steps_worst_case_is_of_all_its_attempts(job, tmp_path, capfd):
    """As a pipeline tries a step again, up to 20 times where machines are rented."""
    from tenyson.cloud.watch.follow import PlainFollower

    for policy, said in [
        (FailurePolicy("wait"), "at most $609.00 in 21 attempts"),
        (FailurePolicy("retry", retries=2, preemptions=3), "at most $174.00 in 6 attempts"),
        (FailurePolicy("abort"), "$1.00 an hour, at most $29.00 (a price"),
    ]:
        backend = Spot(tmp_path, 1)
        BackendLauncher(backend, PlainFollower(), policy).submit("step", job().spec())
        backend.close()
        assert said in capfd.readouterr().err


def test_a_budget_bounds_the_worst_case_that_is_told():
    """Where it is below that of all attempts."""
    estimate = Estimate(1.0, 24.0, "")
    assert cost_in_words(estimate, attempts=2, budget=30) == (
        "$1.00 an hour, at most $30.00 in up to 2 attempts (budget_usd)"
    )
    assert cost_in_words(estimate, attempts=2, budget=50) == "$1.00 an hour, at most $48.00 in 2 attempts"
