"""Core metrics: those that every evaluation has beside the task's own, and which metrics are printed in percent.

A further one is an entry of `measure`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenyson.tasks.metrics.metric import Metric
from tenyson.tasks.metrics.scoring import metrics_of
from tenyson.tasks.rollout import Rollout

if TYPE_CHECKING:
    from tenyson.tasks.plugin import TaskPlugin

_SHARE = re.compile(r"pass@|(.*_)?(rate|accuracy|share|fraction|legal|satisfaction|truncated)(_|$)")


def measure(
    task: TaskPlugin, rollouts: Sequence[Rollout], failures: list[str] | None = None
) -> dict[str, Metric | float]:
    """What an evaluation measures: the share of rollouts that were cut off, and the task's own metrics."""
    truncated = Metric.proportion(sum(one.truncated for one in rollouts), len(rollouts))
    return {"truncated": truncated, **metrics_of(task, rollouts, [] if failures is None else failures)}


def is_share(name: str) -> bool:
    """Whether a metric of this name is printed in percent; results hold values without units."""
    return bool(_SHARE.match(name.partition("/")[0])) and name != "learning_rate"
