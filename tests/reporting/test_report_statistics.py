"""Comparisons: what is paired, and intervals that hold what they promise."""

from __future__ import annotations

import random

import pytest

from tenyson.reporting.statistics import (
    can_be_paired,
    paired_difference,
    sample_means,
    sign_flip_test,
    unpaired_difference,
    welch_test,
)
from tenyson.tasks import Metric


def test_pairing_narrows_the_interval_where_samples_differ_much() -> None:
    """The same improvement on samples of very different difficulty: certain in pairs, hidden without them."""
    draw = random.Random(1)
    before = {f"s{i}": draw.gauss(0, 10) for i in range(200)}
    after = {sample: value + 1 + draw.gauss(0, 0.5) for sample, value in before.items()}
    paired = paired_difference(before, after)
    unpaired = unpaired_difference(Metric.mean(list(before.values())), Metric.mean(list(after.values())))
    assert paired.paired
    assert paired.n == 200
    assert paired.low > 0.8
    assert paired.high < 1.2
    assert not unpaired.paired
    assert unpaired.low < 0
    assert unpaired.value == pytest.approx(paired.value)


@pytest.mark.slow
def test_the_bootstrap_interval_holds_the_truth_about_95_times_in_100() -> None:
    """Coverage over 200 simulated pairs of evaluations of 80 games each lies between 90% and 99%."""
    draw = random.Random(7)
    hits = 0
    for trial in range(200):
        before = {str(i): float(draw.random() < 0.5) for i in range(80)}
        after = {sample: max(value, float(draw.random() < 0.4)) for sample, value in before.items()}
        found = paired_difference(before, after, seed=trial, resamples=400)
        hits += found.low <= 0.5 * 0.4 <= found.high
    assert 180 <= hits <= 198


def test_the_same_seed_gives_the_same_interval() -> None:
    """A report that is built twice shows the same numbers, in whatever order the samples come."""
    before = {str(i): float(i % 3 == 0) for i in range(50)}
    after = {str(i): float(i % 2 == 0) for i in reversed(range(50))}
    assert paired_difference(before, after, seed=3) == paired_difference(before, after, seed=3)
    assert paired_difference(before, after, seed=3) != paired_difference(before, after, seed=4)


def test_only_shared_samples_are_paired() -> None:
    """A stopped evaluation is paired on what it reached, two that share most on that; where the shared samples are one,
    or less than half of the smaller evaluation, nothing is paired.
    """
    assert can_be_paired(["a", "b"], ["a", "b", "c"])
    assert can_be_paired(["a", "b", "c", "d"], ["c", "d", "e", "f", "g"])
    assert not can_be_paired(["a", "b", "c", "d", "e"], ["d", "e", "f", "g", "h"])
    assert not can_be_paired(["a", "b"], ["b", "c"])
    assert not can_be_paired([], ["a"])
    found = paired_difference({"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 1.0, "c": 0.0})
    assert (found.value, found.n) == (1.0, 2)
    with pytest.raises(ValueError, match="no sample is in both"):
        paired_difference({"a": 0.0}, {"b": 1.0})


def test_rollouts_of_one_sample_count_once() -> None:
    """Several rollouts of a sample are averaged first; they would feign precision otherwise."""
    assert sample_means([("a", 0.0), ("a", 1.0), ("b", 1.0)]) == {"a": 0.5, "b": 1.0}


def test_the_unpaired_interval_is_newcombes() -> None:
    """The published example: 56/70 against 48/80 gives 0.2000 with 0.0524 to 0.3339 (Newcombe 1998, table II, a)."""
    found = unpaired_difference(Metric.proportion(48, 80), Metric.proportion(56, 70))
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.0524, abs=5e-5)
    assert found.high == pytest.approx(0.3339, abs=5e-5)


def test_the_sign_flip_test_is_exact_for_few_differences() -> None:
    """Of 2**5 choices of signs, all plus and all minus are as extreme: 2/32. With one sign against, 4/32."""
    assert sign_flip_test([1.0, 1.0, 1.0, 1.0, 1.0]) == 2 / 32
    assert sign_flip_test([3.0, 3.0, 3.0, 3.0, -1.0]) == 4 / 32
    assert sign_flip_test([1.0, -1.0]) == 1.0
    assert sign_flip_test([]) == sign_flip_test([0.0, 0.0]) == 1.0


def test_the_sign_flip_test_agrees_with_its_exact_value_where_it_samples() -> None:
    """10 differences both ways; and p is never 0."""
    differences = [0.3, 0.1, -0.2, 0.5, 0.4, -0.1, 0.2, 0.6, -0.3, 0.2]
    exact = sign_flip_test(differences)
    assert sign_flip_test(differences, exact_up_to=0) == pytest.approx(exact, abs=0.02)
    assert sign_flip_test([1.0] * 60) == 1 / 5000


def test_the_sign_flip_test_keeps_its_level() -> None:
    """Where nothing differs, p is below 0.05 in about 5% of experiments."""
    draw = random.Random(3)
    below = sum(sign_flip_test([draw.gauss(0, 1) for _ in range(12)]) <= 0.05 for _ in range(300))
    assert 5 <= below <= 27


def test_welchs_test_gives_known_values() -> None:
    """A published example with t = -2.46 and 25.0 degrees of freedom has p = 0.021; quantiles of Student's t as printed."""
    before = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
    after = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4]
    assert welch_test(before, after) == pytest.approx(0.021, abs=5e-4)
    # Two groups of n, both of variance 1: t is the difference times sqrt(n / 2), with 2n - 2 degrees of freedom.
    for n, t in ((2, 4.303), (6, 2.228), (16, 2.042), (61, 1.980)):
        spread = ((n - 1) / (n - n % 2)) ** 0.5
        group = [spread * (1 if i < n // 2 else -1) for i in range(n - n % 2)] + [0.0] * (n % 2)
        shifted = [value + t * (2 / n) ** 0.5 for value in group]
        assert welch_test(group, shifted) == pytest.approx(0.05, abs=2e-4), n


def test_welchs_test_tests_nothing_where_there_is_no_spread() -> None:
    """One sample, or the same value everywhere, says nothing about chance; equal values differ in nothing."""
    assert welch_test([1.0], [2.0, 3.0]) is None
    assert welch_test([0.0, 0.0], [1.0, 1.0]) is None
    assert welch_test([1.0, 1.0], [1.0, 1.0, 1.0]) == 1.0


def test_welchs_test_keeps_its_level_with_unequal_spreads() -> None:
    """Where nothing differs, p is below 0.05 in about 5% of experiments."""
    draw = random.Random(11)
    below = 0
    for _ in range(1000):
        found = welch_test([draw.gauss(0, 1) for _ in range(12)], [draw.gauss(0, 4) for _ in range(40)])
        below += found is not None and found <= 0.05
    assert 30 <= below <= 70
