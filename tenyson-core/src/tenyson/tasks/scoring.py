"""Scoring: each reward is asked once for each rollout, and every number of a task is checked where it enters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
from tenyson.tasks.metric import Metric
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.usercode import refuse_coroutine, shown, task_name, text_fault, user_code

if TYPE_CHECKING:
    from tenyson.tasks.plugin import TaskPlugin

LARGEST = 1e18
"""Of a reward: training squares them in 32 bits, which hold up to 3.4e38."""


@dataclass(frozen=True)
class Scored:
    """A rollout, and what the rewards say of it."""

    rollout: Rollout
    """Its `rewards` hold the components, so that metrics need not ask again."""
    components: Mapping[str, float | None]
    """Unweighted value by name; None where the reward says nothing, or failed."""
    reward: float
    """The weighted sum."""
    failure: str | None = None
    """What is wrong with the first reward that failed, with its name and the sample's id."""


def score(rewards: Sequence[Reward], rollout: Rollout, *, where: str | None = None) -> Scored:
    """Ask each reward once. One that fails counts as saying nothing, and `failure` says why.

    Args:
        where: what the rollout is, in words such as "on sample train/7".
    """
    where = where or f"on sample {rollout.sample.id}"
    components: dict[str, float | None] = {}
    total, failure = 0.0, None
    for reward in rewards:
        try:
            value = _evaluate(reward, rollout, where)
        except TaskError as error:
            value, failure = None, failure or error.cause
        components[reward.name] = value
        total += float(reward.weight) * (value or 0.0)
    return Scored(replace(rollout, rewards=components), components, total, failure)


def rewards_of(task: TaskPlugin) -> list[Reward]:
    """The task's rewards.

    Raises: TaskError: what `rewards()` returns cannot be used, or two of them have one name.
    """
    hook = f"rewards() of the task {task_name(task)}"
    with user_code(hook):
        found = task.rewards()
        refuse_coroutine(found, hook)
        if not isinstance(found, Iterable) or isinstance(found, (str, bytes, Mapping)):
            raise TaskError(f"{hook} returned {shown(found)}", next_step='Return [Reward("name", function)].')
        rewards = list(found)
    for reward in rewards:
        if not isinstance(reward, Reward):
            cause = f"{hook} holds {shown(reward)}, which is no Reward"
            raise TaskError(cause, next_step='Write Reward("name", function).')
        if (fault := text_fault(reward.name)) or not reward.name.strip():
            raise TaskError(f"{hook}: the name of a reward {fault or 'is empty'}")
        if not callable(reward.function):
            raise TaskError(f"{hook}: the function of the reward {reward.name} is {shown(reward.function)}")
        weight = _number(reward.weight, f"{hook}: the weight of the reward {reward.name}")
        if weight is None or not abs(weight) <= LARGEST:
            raise TaskError(f"{hook}: the weight of the reward {reward.name} is {weight}, no finite number")
    names = [reward.name for reward in rewards]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TaskError(
            f"{hook}: two rewards have the same name: {', '.join(twice)}",
            next_step="Give each its own name: records, metrics and reports tell them apart by it.",
        )
    return rewards


def metrics_of(
    task: TaskPlugin, rollouts: Sequence[Rollout], failures: list[str]
) -> dict[str, Metric | float]:
    """What the task measures over the rollouts; nothing, where there are none. NaN: there was nothing to measure.

    `failures` takes what is wrong with metrics that are no finite numbers, by name; they are left out.
    """
    if not rollouts:
        return {}
    hook = f"metrics() of the task {task_name(task)}"
    checked: dict[str, Metric | float] = {}
    try:
        with user_code(hook, f" on {len(rollouts)} rollouts"):
            found = task.metrics(rollouts)
        refuse_coroutine(found, hook)
        if not isinstance(found, Mapping):
            raise TaskError(f"{hook} returned {shown(found)}, not a mapping of names to Metric")
    except TaskError as error:
        failures.append(error.cause)
        return checked
    for name, metric in found.items():
        try:
            if (fault := text_fault(name)) or not name:
                raise TaskError(f"{hook}: the name of a metric {fault or 'is empty'}")
            checked[name] = _metric(metric, f"{hook}: the metric {name}")
        except TaskError as error:
            failures.append(error.cause)
    return checked


def _metric(metric: Any, what: str) -> Metric | float:
    if not isinstance(metric, Metric):
        return _measured(metric, what)
    n = _number(metric.n, what) or 0.0
    bounds = [_number(bound, what) for bound in (metric.low, metric.high)]
    low, high = (math.nan if bound is None else bound for bound in bounds)
    return Metric(_measured(metric.value, what), int(n) if math.isfinite(n) else 0, low, high)


def _evaluate(reward: Reward, rollout: Rollout, where: str) -> float | None:
    what, where = f"the reward {reward.name}", f" {where}"
    with user_code(what, where):
        value = reward(rollout)
    refuse_coroutine(value, f"{what}{where}")
    number = _number(value, f"{what}{where}")
    if number is not None and not abs(number) <= LARGEST:
        raise TaskError(
            f"{what}{where} returned {number:g}; rewards are finite numbers up to {LARGEST:g}, or None"
        )
    return number


def _measured(value: Any, what: str) -> float:
    number = _number(value, what)
    if number is not None and math.isinf(number):
        raise TaskError(f"{what} is {number}; metrics are finite numbers, or NaN where nothing was measured")
    return math.nan if number is None else number


def _number(value: Any, what: str) -> float | None:
    """A number of Python, numpy or torch as a float, truth values as 1 and 0; it may be NaN or infinite.

    Raises: TaskError: it is something else, or too large for a float.
    """
    if value is None:
        return None
    shape = getattr(value, "shape", None)
    if shape is not None:
        # A scalar of numpy or torch; an array is none, however few elements it has.
        if tuple(shape) != () or not callable(getattr(value, "item", None)):
            raise TaskError(f"{what} returned {shown(value)}, which is no single number")
        value = value.item()
    if isinstance(value, (str, bytes)) or not hasattr(type(value), "__float__"):
        raise TaskError(f"{what} returned {shown(value)}, which is no number")
    try:
        return float(value)
    except OverflowError:
        raise TaskError(f"{what} returned a whole number that is too large for a float") from None
    except Exception as error:
        raise TaskError(f"{what} returned {shown(value)}, which is no number: {error}") from None
