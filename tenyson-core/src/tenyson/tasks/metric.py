"""A metric: a number over many rollouts, with how many and how sure."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        """A share of `n`, with Wilson's score interval (Wilson 1927, JASA 22, 209-212)."""
        if n == 0:
            return cls(math.nan, 0, math.nan, math.nan)
        share = successes / n
        centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
        return cls(share, n, max(0.0, centre - half), min(1.0, centre + half))

    @classmethod
    def mean(cls, values: Sequence[float]) -> Metric:
        """A mean, with the normal interval value ± 1.96 · s/√n; without spread where n < 2."""
        values = [float(value) for value in values]  # scalars of numpy and truth values too
        n = len(values)
        if n == 0:
            return cls(math.nan, 0, math.nan, math.nan)
        if not all(map(math.isfinite, values)):
            return cls(sum(values), n, math.nan, math.nan)
        value = fmean(values)
        half = Z95 * stdev(values) / math.sqrt(n) if n > 1 else 0.0
        return cls(value, n, value - half, value + half)
