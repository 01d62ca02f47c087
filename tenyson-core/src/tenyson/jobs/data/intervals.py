"""Intervals of an evaluation are over its samples: rollouts of one sample are alike, and more of them are no more samples."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tenyson.tasks.metrics.core import measure
from tenyson.tasks.metrics.metric import Z95, Metric, clustered_error, normal_bounds, wilson
from tenyson.tasks.rollout import Rollout

if TYPE_CHECKING:
    from tenyson.tasks.plugin import TaskPlugin


def over_samples(
    task: TaskPlugin, rollouts: Sequence[Rollout], metrics: Mapping[str, Metric | float]
) -> dict[str, Metric | float]:
    """`metrics` of `rollouts`, with intervals over samples where samples were played several times.

    The task is asked for the metrics of each sample's rollouts. A metric that is no mean of them gets the interval that it
    would have if all rollouts of a sample were one.
    """
    by_sample: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        by_sample[rollout.sample.id].append(rollout)
    if len(by_sample) == len(rollouts):
        return dict(metrics)
    of_samples = [measure(task, played) for played in by_sample.values()]
    return {
        name: _clustered(metric, [one.get(name) for one in of_samples])
        if isinstance(metric, Metric)
        else metric
        for name, metric in metrics.items()
    }


def _clustered(metric: Metric, of_samples: Sequence[Metric | float | None]) -> Metric:
    if not math.isfinite(metric.value) or not math.isfinite(metric.low):
        return metric
    clusters = [
        (one.value, one.n)
        for one in of_samples
        if isinstance(one, Metric) and one.n > 0 and math.isfinite(one.value)
    ]
    weight = sum(n for _, n in clusters)
    mean = sum(value * n for value, n in clusters) / weight if weight else math.nan
    is_mean = weight == metric.n and math.isclose(mean, metric.value, rel_tol=1e-9, abs_tol=1e-12)
    k = len(clusters) or len(of_samples)
    # As many rollouts as samples would carry: all of them where those of a sample differ as much as any.
    if _is_share(metric):
        error = clustered_error(metric.value, clusters) if is_mean else 0.0
        spread = metric.value * (1 - metric.value)
        size = min(metric.n, spread / error**2) if error > 0 and spread > 0 else min(metric.n, k)
        low, high = wilson(metric.value, size)
    elif is_mean:
        low, high = normal_bounds(metric.value, Z95 * clustered_error(metric.value, clusters))
    else:
        wider = math.sqrt(max(1.0, metric.n / k))
        low = metric.value - wider * (metric.value - metric.low)
        high = metric.value + wider * (metric.high - metric.value)
    return replace(metric, low=low, high=high)


def _is_share(metric: Metric) -> bool:
    """Whether an interval is Wilson's."""
    if not 0 <= metric.value <= 1 or metric.n < 1:
        return False
    low, high = wilson(metric.value, metric.n)
    return math.isclose(low, metric.low, abs_tol=1e-12) and math.isclose(high, metric.high, abs_tol=1e-12)
