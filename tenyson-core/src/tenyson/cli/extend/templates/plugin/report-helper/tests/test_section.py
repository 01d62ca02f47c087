from tenyson.testing.report_helpers import ReportHelperContract

from my_thing.hardest import never_rewarded
from my_thing.section import section


class TestContract(ReportHelperContract):
    helper = staticmethod(section)


def test_the_best_rollout_of_a_sample_counts() -> None:
    rewards = [("a", 0.0), ("a", 1.0), ("b", 0.0), ("b", -1.0), ("c", None)]
    rollouts = [{"sample_id": sample, "reward": reward} for sample, reward in rewards]
    assert never_rewarded(rollouts) == ["b"]
