"""Comparisons of two evaluations, each with a 95% interval: paired by sample where both saw the same samples."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance

from tenyson.tasks.metrics.metric import Metric

RESAMPLES = 2000
FLIPS = 4999
EXACT_SAMPLES = 14


@dataclass(frozen=True)
class Difference:
    """`after` less `before`, with its 95% interval."""

    value: float
    low: float
    high: float
    n: int
    """Samples that were paired; the smaller of the two numbers of samples where nothing was."""
    paired: bool
    p: float | None = None
    """Two-sided, that there is no difference; None where it was not tested."""
    note: str | None = None
    """Why there is no interval (its bounds are NaN then), or why it and p say different things."""

    @property
    def has_interval(self) -> bool:
        """Whether the bounds are numbers."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def tested(self, p: float | None) -> Difference:
        """With this p, and with a note where the interval says otherwise."""
        return replace(self, p=p, note=self.note or _disagreement(self, p))


def sample_means(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """(sample id, value) of many rollouts as one mean for each sample: rollouts of one sample are not independent."""
    values: dict[str, list[float]] = {}
    for sample, value in pairs:
        values.setdefault(sample, []).append(value)
    return {sample: fmean(found) for sample, found in values.items()}


def can_be_paired(before: Iterable[str], after: Iterable[str]) -> bool:
    """Whether the evaluations share two samples at least, and half of the smaller one's: that pairs are most of it."""
    first, second = set(before), set(after)
    shared = len(first & second)
    return shared >= 2 and 2 * shared >= min(len(first), len(second))


def paired_difference(
    before: Mapping[str, float], after: Mapping[str, float], *, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Mean of the differences within samples, by sample id, with the percentile bootstrap over samples.

    Resampled are samples, not rollouts (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).
    The same input and seed give the same interval. One sample has none, and neither have samples that all changed alike:
    resampling them shows no spread, which is not certainty.

    Raises: ValueError: no sample is in both.
    """
    shared = sorted(before.keys() & after.keys())
    if not shared:
        raise ValueError("no sample is in both evaluations")
    differences = [after[sample] - before[sample] for sample in shared]
    n = len(differences)
    value = fmean(differences)
    if max(differences) - min(differences) <= 1e-12 * max(1.0, abs(value)):
        changed = f"all {n} samples changed alike" if abs(value) > 0 else f"none of {n} samples changed"
        why = (
            f"{changed}, which shows no spread to make an interval of"
            if n > 1
            else "one sample has no interval"
        )
        return Difference(value, math.nan, math.nan, n, paired=True, note=why)
    draw = random.Random(seed)
    means = sorted(sum(draw.choices(differences, k=n)) / n for _ in range(resamples))
    return Difference(value, _quantile(means, 0.025), _quantile(means, 0.975), n, paired=True)


def sign_flip_test(
    differences: Sequence[float], *, seed: int = 0, resamples: int = FLIPS, exact_up_to: int = EXACT_SAMPLES
) -> float:
    """Two-sided p-value that paired differences have mean 0: under that, each might as well have the other sign.

    Exact over all 2**n choices of signs for up to `exact_up_to` differences that are not 0, else over `resamples` random
    ones, counting the observed one among them so that p is never 0 (Good 2005, Permutation, Parametric and Bootstrap
    Tests of Hypotheses, chapter 3; Phipson & Smyth 2010, Statistical Applications in Genetics and Molecular Biology 9).
    1 where all differences are 0.
    """
    sizes = [abs(difference) for difference in differences if difference]
    if not sizes:
        return 1.0
    # Sums that differ by rounding alone are equal.
    observed = abs(sum(differences)) * (1 - 1e-12)
    if len(sizes) <= exact_up_to:
        sums = [0.0]
        for size in sizes:
            sums = [total + sign for total in sums for sign in (size, -size)]
        return sum(abs(total) >= observed for total in sums) / len(sums)
    draw = random.Random(seed)
    extreme = 0
    for _ in range(resamples):
        signs = draw.getrandbits(len(sizes))
        total = sum(size if signs >> place & 1 else -size for place, size in enumerate(sizes))
        extreme += abs(total) >= observed
    return (extreme + 1) / (resamples + 1)


def welch_test(before: Sequence[float], after: Sequence[float]) -> float | None:
    """Two-sided p-value that two independent means are equal, whatever their spreads (Welch 1947, Biometrika 34, 28-35).

    None where neither has a spread that the difference could be held against.
    """
    if len(before) < 2 or len(after) < 2:
        return None
    difference = fmean(after) - fmean(before)
    parts = [(variance(values) / len(values), len(values) - 1) for values in (before, after)]
    squared = sum(part for part, _ in parts)
    if squared == 0:
        return 1.0 if difference == 0 else None
    freedom = 1 / sum(
        (part / squared) ** 2 / degrees for part, degrees in parts
    )  # no square of a tiny number
    return _beta(freedom / (freedom + difference**2 / squared), freedom / 2, 0.5)


def unpaired_difference(before: Metric, after: Metric) -> Difference:
    """Difference of two independent estimates, its interval built from theirs by square-and-add.

    With d = b - a, the distances from d to its bounds are √((b - l_b)² + (u_a - a)²) and √((u_b - b)² + (a - l_a)²)
    (Newcombe 1998, Statistics in Medicine 17, 873-890, method 10; Zou & Donner 2008, ibid. 27, 1693-1702).
    """
    value = after.value - before.value
    n = min(before.n, after.n)
    if any(math.isnan(bound) for one in (before, after) for bound in (one.low, one.high)):
        why = (
            "one sample has no interval"
            if n == 1
            else "a mean without spread, or without an interval, gives none"
        )
        return Difference(value, math.nan, math.nan, n, paired=False, note=why)
    down = math.hypot(after.value - after.low, before.high - before.value)
    up = math.hypot(after.high - after.value, before.value - before.low)
    return Difference(value, value - down, value + up, n, paired=False)


def estimate(values: Sequence[float]) -> Metric:
    """The mean of independent values; of noughts and ones the share, which has an interval also where all are equal."""
    if set(values) <= {0.0, 1.0}:
        return Metric.proportion(int(sum(values)), len(values))
    return Metric.mean(values)


def _disagreement(found: Difference, p: float | None) -> str | None:
    if p is None or not found.has_interval or (p < 0.05) == (found.low > 0 or found.high < 0):
        return None
    if found.paired and 2 / 2**found.n >= 0.05:
        return (
            f"with {found.n} samples p cannot be below {2 / 2**found.n:.2g}, and an interval from so few is too narrow: nothing is "
            "decided"
        )
    how = (
        "the interval resamples the samples, p flips the signs of their differences"
        if found.paired
        else "the interval is made of those of both means, p is Welch's test"
    )
    return f"the interval and p disagree: {how}. So near to 5% that nothing is decided"


def _beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), for 0 <= x <= 1.

    By its continued fraction (Olver et al. 2010, NIST Handbook of Mathematical Functions, 8.17.22), from the inside out.
    """
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)  # where the fraction converges faster
    if x <= 0:
        return 0.0
    fraction = 1.0
    for m in range(200, 0, -1):
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = 1 + odd / (1 + even / fraction)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) / (a * fraction)


def _quantile(ordered: list[float], q: float) -> float:
    """Linear between order statistics (Hyndman & Fan 1996, type 7)."""
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
