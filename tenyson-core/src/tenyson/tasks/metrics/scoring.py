"""A task's rewards and metrics: every name and number of them is checked where it enters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
from tenyson.tasks.metrics.metric import Metric
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.usercode import refuse_coroutine, shown, task_name, text_fault, user_code

if TYPE_CHECKING:
    from tenyson.tasks.plugin import TaskPlugin

LARGEST = 1e18
"""Of a reward: training squares them in 32 bits, which hold up to 3.4e38."""


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
        weight = as_number(reward.weight, f"{hook}: the weight of the reward {reward.name}")
        if weight is None or not abs(weight) <= LARGEST:
            raise TaskError(f"{hook}: the weight of the reward {reward.name} is {weight}, no finite number")
        seconds = as_number(reward.seconds, f"{hook}: the time limit of the reward {reward.name}")
        if seconds is not None and not 0 < seconds < math.inf:
            raise TaskError(f"{hook}: the time limit of the reward {reward.name} is {seconds:g} s")
        if reward.group and reward.batch:
            raise TaskError(
                f"{hook}: the reward {reward.name} is both of a group and of a batch",
                next_step="Set group=True to compare the rollouts of a prompt, or batch=True to see all of them.",
            )
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
    n = as_number(metric.n, what) or 0.0
    bounds = [as_number(bound, what) for bound in (metric.low, metric.high)]
    low, high = (math.nan if bound is None else bound for bound in bounds)
    return Metric(_measured(metric.value, what), int(n) if math.isfinite(n) else 0, low, high)


def as_reward(value: Any, what: str) -> float | None:
    """What a reward said of one rollout, as a float. Raises: TaskError: it is no finite number up to `LARGEST`."""
    number = as_number(value, what)
    if number is not None and not abs(number) <= LARGEST:
        raise TaskError(f"{what} returned {number:g}; rewards are finite numbers up to {LARGEST:g}, or None")
    return number


def _measured(value: Any, what: str) -> float:
    number = as_number(value, what)
    if number is not None and math.isinf(number):
        raise TaskError(f"{what} is {number}; metrics are finite numbers, or NaN where nothing was measured")
    return math.nan if number is None else number


def as_number(value: Any, what: str) -> float | None:
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
