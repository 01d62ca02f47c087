"""Intervals of an evaluation are over samples: more rollouts of one sample are no more samples."""

from __future__ import annotations

from statistics import fmean, median

import pytest

from tenyson.jobs.data.intervals import over_samples
from tenyson.tasks import Metric, Rollout, Sample, TaskPlugin
from tenyson.tasks.metrics.core import measure


class Lengths(TaskPlugin):
    """Measures what a rollout says in several ways."""

    def metrics(self, rollouts):
        lengths = [float(len(rollout.text)) for rollout in rollouts]
        long = [rollout for rollout in rollouts if len(rollout.text) > 5]
        return {
            "length": Metric.mean(lengths),
            "long": Metric.proportion(len(long), len(rollouts)),
            "short when odd": Metric.mean([one for one in lengths if one % 2]),
            "median": Metric(median(lengths), len(lengths), median(lengths) - 1, median(lengths) + 2),
        }


def rollouts(*lengths_of_samples):
    return [
        Rollout(
            Sample(f"s{number}", [{"role": "user", "content": "?"}]),
            ({"role": "assistant", "content": "x" * length},),
            "stop",
            tokens=length,
        )
        for number, lengths in enumerate(lengths_of_samples)
        for length in lengths
    ]


def measured(played):
    task = Lengths()
    return over_samples(task, played, measure(task, played))


def test_repeats_of_one_reply_are_worth_one_sample():
    """Ten samples, each played five times with one reply: the interval is that of ten."""
    lengths = [1, 9, 3, 8, 2, 7, 9, 1, 4, 6]
    found, once = (
        measured(rollouts(*([one] * 5 for one in lengths))),
        Lengths().metrics(rollouts(*([one] for one in lengths))),
    )
    for name in ("length", "long", "short when odd"):
        assert found[name].value == pytest.approx(once[name].value)
        assert found[name].n == 5 * once[name].n, "n counts rollouts"
    assert (found["length"].low, found["length"].high) == pytest.approx(
        (once["length"].low, once["length"].high)
    )
    # The estimated spread of shares has n - 1 below it.
    width = found["long"].high - found["long"].low
    assert width == pytest.approx(once["long"].high - once["long"].low, rel=0.06)


def test_the_interval_is_that_of_the_means_of_the_samples():
    """Where rollouts of a sample differ, what counts is how far the samples' means do."""
    played = [[1, 3], [5, 9], [2, 2], [8, 6]]
    means = Metric.mean([fmean(lengths) for lengths in played])
    found = measured(rollouts(*played))["length"]
    assert (found.low, found.value, found.high) == pytest.approx((means.low, means.value, means.high))


def test_where_all_rollouts_agree_a_share_is_as_sure_as_its_samples():
    """Three samples that are always right are no proof of a hundred per cent, however often they are played."""
    found = measured(rollouts(*([9] * 50 for _ in range(3))))["long"]
    assert (found.low, found.high) == pytest.approx((Metric.proportion(3, 3).low, 1.0))
    (single,) = [measured(rollouts([9] * 50))[name] for name in ("long",)]
    assert (single.low, single.high) == pytest.approx((Metric.proportion(1, 1).low, 1.0))


def test_a_metric_that_is_no_mean_counts_each_sample_once():
    """A median's interval is widened as if all rollouts of a sample were one."""
    played = [[1, 1, 2, 2], [7, 8, 7, 8], [4, 4, 4, 5]]
    found = measured(rollouts(*played))["median"]
    assert (found.value - found.low, found.high - found.value) == pytest.approx((2.0, 4.0))


def test_samples_that_are_played_once_keep_the_task_s_own_intervals():
    """Nothing is clustered, and the task is asked once."""
    played = rollouts([1], [9], [4])
    task = Lengths()
    assert over_samples(task, played, measure(task, played)) == measure(task, played)
