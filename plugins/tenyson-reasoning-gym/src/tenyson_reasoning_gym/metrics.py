"""Metrics: accuracy of all rollouts, of each data set of a mixture, and of each level of a curriculum."""

from __future__ import annotations

from collections.abc import Sequence

from tenyson.tasks import Metric, Rollout


def by_group(
    rollouts: Sequence[Rollout], scores: Sequence[float], *, mixture: bool, levels: bool
) -> dict[str, Metric]:
    """`accuracy` is the mean score, `solved` the share of full scores; `accuracy/NAME` and `/level_N` are slices."""
    found = {
        "accuracy": mean(scores),
        "solved": Metric.proportion(sum(one >= 1 for one in scores), len(scores)),
    }
    groups: dict[str, list[float]] = {}
    for rollout, score in zip(rollouts, scores, strict=True):
        data = rollout.sample.data
        name = f"accuracy/{data['dataset']}" if mixture else "accuracy"
        if mixture:
            groups.setdefault(name, []).append(score)
        if levels:
            groups.setdefault(f"{name}/level_{data['level']}", []).append(score)
    return found | {name: mean(groups[name]) for name in sorted(groups)}


def mean(scores: Sequence[float]) -> Metric:
    """With Wilson's interval where all scores are 0 or 1."""
    if all(score in (0.0, 1.0) for score in scores):
        return Metric.proportion(int(sum(scores)), len(scores))
    return Metric.mean(scores)
