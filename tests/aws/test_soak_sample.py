"""A seeded sample of tests/soak/kill_machines.py."""

import pytest
from tests.soak.kill_machines import trial


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", [3, 8, 21])
def test_whatever_befalls_a_run_no_machine_is_left_and_no_attempt_launched_twice(aws, tmp_path, seed):
    """The docs hold the figures of the full suite."""
    one = trial(aws.ec2, tmp_path, seed)
    assert not one.wrong, (one.faults, one.wrong, one.said[-3000:])
