"""A question: one call of a reward, about one rollout or about several together."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tenyson.engines.rollouts.fault import Fault
from tenyson.errors import TaskError
from tenyson.tasks.metrics.scoring import as_reward
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout, RolloutError
from tenyson.tasks.usercode import rollout_error, shown, user_code
from tenyson.tasks.verdict import Verdict


@dataclass(eq=False)
class Question:
    """What one reward is asked."""

    reward: Reward
    number: int
    """Which reward of the task it is."""
    places: tuple[int, ...]
    """Which rollouts of the batch it is about."""
    rollouts: list[Rollout]
    where: str
    """In words that follow what the reward did."""
    is_async: bool

    @property
    def what(self) -> str:
        """The reward, in words."""
        return f"the reward {self.reward.name}"

    def ask(self) -> Any:
        """Call the reward."""
        return self.reward.function(self.rollouts[0] if self.reward.single else self.rollouts)

    def read(self, value: Any) -> list[float | None]:
        """What it returned, as one value for each rollout. Raises: TaskError: it cannot be read so."""
        what = f"{self.what}{self.where}"
        if self.reward.single:
            return [as_reward(value, what)]
        number = len(self.rollouts)
        if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
            raise TaskError(f"{what} returned {shown(value)}, not a list of {number} values")
        with user_code(self.what, self.where):
            values = list(value)
        if len(values) != number:
            raise TaskError(
                f"{what} returned {len(values)} values for {number} rollouts",
                next_step="Return one for each rollout, in their order; None where it says nothing.",
            )
        return [as_reward(one, what) for one in values]

    def verdicts(self, value: Any, fault: Fault | None) -> list[tuple[Verdict, ...]]:
        """What judges said, for each rollout; of a question that failed, with the first one."""
        if fault is not None:
            return [self._named(getattr(fault.error, "verdicts", ())), *[()] * (len(self.places) - 1)]
        if self.reward.single:
            return [self._named(getattr(value, "verdicts", ()))]
        whole = isinstance(value, list) and len(value) == len(self.places)
        values = value if whole else [None] * len(self.places)
        return [self._named(getattr(one, "verdicts", ())) for one in values]

    def _named(self, verdicts: Any) -> tuple[Verdict, ...]:
        known = verdicts if isinstance(verdicts, tuple) else ()
        return tuple(replace(one, reward=self.reward.name) for one in known if isinstance(one, Verdict))

    def error(self, fault: Fault) -> RolloutError:
        """Why there is no value."""
        if fault.error is None:
            return RolloutError("reward", "TimeoutError", f"{self.what}{self.where}: {fault.message}")
        try:
            with user_code(self.what, self.where):
                raise fault.error
        except TaskError as error:
            return rollout_error("reward", error)


def questions_about(
    rewards: Sequence[Reward],
    rollouts: Sequence[Rollout],
    groups: Sequence[Hashable],
    where: Sequence[str],
) -> list[Question]:
    """What to ask of the rollouts that have no error, in the order in which plain rewards are asked: as soon as the last rollout of a
    question has its turn, and then in the order of the rewards.
    """
    places = [place for place, one in enumerate(rollouts) if one.error is None]
    together: dict[Hashable, list[int]] = {}
    for place in places:
        together.setdefault(groups[place], []).append(place)
    found = []
    for number, reward in enumerate(rewards):
        wholes = (
            [[place] for place in places]
            if reward.single
            else list(together.values())
            if reward.group
            else [places]
        )
        is_async = _is_async(reward.function)
        for whole in wholes:
            if whole:
                about = f" {_where(reward, whole, where, rollouts)}"
                found.append(
                    Question(reward, number, tuple(whole), [rollouts[one] for one in whole], about, is_async)
                )
    return sorted(found, key=lambda one: (one.places[-1], one.number))


def _where(reward: Reward, places: Sequence[int], where: Sequence[str], rollouts: Sequence[Rollout]) -> str:
    if reward.single:
        return where[places[0]]
    if reward.group:
        return f"on the group of sample {rollouts[places[0]].sample.id}"
    return f"on a batch of {len(places)} rollouts"


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  an object may have an async __call__
    )
