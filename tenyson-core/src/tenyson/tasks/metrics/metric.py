"""A metric: a number over many rollouts, with how many and how sure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Metric:
    """A value over `n` samples with its 95% interval."""

    value: float
    """The value; NaN where nothing was measured."""
    n: int
    """Number of samples."""
    low: float
    """Lower end of the 95% interval."""
    high: float
    """Upper end."""

    @classmethod
    def proportion(cls, successes: int, n: int) -> Metric:
        """A share of `n`, with Wilson's score interval (Wilson 1927, JASA 22, 209-212).

        Raises: ValueError: `successes` is not from 0 to `n`.
        """
        if n == 0 and not successes:
            return cls(math.nan, 0, math.nan, math.nan)
        if not 0 <= successes <= n:
            raise ValueError(
                f"{successes} successes of {n}: a proportion is from 0 to 1; Metric.mean takes other numbers"
            )
        return cls(successes / n, n, *wilson(successes / n, n))

    @classmethod
    def mean(cls, values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Metric:
        """A mean, with the normal interval value ± 1.96 · s/√n. The bounds are NaN, which is no interval, for one value and
        for values that are all alike: they show no spread, which is not certainty. Of noughts and ones take `proportion`.

        Args:
            clusters: what each value belongs to, such as the sample of a rollout. Values of one cluster are alike, so the
                interval is that of the clusters; of a single one there is none.
        """
        values = [float(value) for value in values]  # scalars of numpy and truth values too
        n = len(values)
        if n == 0:
            return cls(math.nan, 0, math.nan, math.nan)
        if not all(map(math.isfinite, values)):
            return cls(sum(values), n, math.nan, math.nan)
        value = fmean(values)
        if clusters is not None:
            members = defaultdict(list)
            for one, cluster in zip(values, clusters, strict=True):
                members[cluster].append(one)
            half = Z95 * clustered_error(value, [(fmean(ones), len(ones)) for ones in members.values()])
        else:
            half = Z95 * stdev(values) / math.sqrt(n) if n > 1 else math.nan
        low, high = normal_bounds(value, half)
        return cls(value, n, low, high)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of a share; `n` need not be whole, as the effective size of clustered rollouts is not."""
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def normal_bounds(value: float, half: float) -> tuple[float, float]:
    """value ± half; NaN where half is no more than rounding."""
    half = half if half > 1e-12 * max(1.0, abs(value)) else math.nan
    return value - half, value + half


def clustered_error(value: float, clusters: Sequence[tuple[float, float]]) -> float:
    """Standard error of a mean over clusters, each with its own mean and its weight; NaN for fewer than two.

    The cluster-robust estimate (Liang and Zeger 1986, Biometrika 73, 13-22) with the factor k / (k - 1).
    """
    k, total = len(clusters), sum(weight for _, weight in clusters)
    if k < 2:
        return math.nan
    spread = sum((weight * (mean - value)) ** 2 for mean, weight in clusters)
    return math.sqrt(k / (k - 1) * spread) / total
