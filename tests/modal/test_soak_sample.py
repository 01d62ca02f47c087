"""A seeded sample of tests/soak/kill_containers.py."""

import pytest
from tests.soak.kill_containers import trial


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", [3, 8, 21])
def test_whatever_befalls_a_run_no_app_is_left_and_no_attempt_runs_twice(modal, tmp_path, seed):
    """The docs hold the figures of the full suite."""
    one = trial(modal.cloud, tmp_path, seed)
    assert not one.wrong, (one.faults, one.wrong, one.said[-3000:])
