"""Levels: where each data set of a curriculum stands, and when it moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tenyson.errors import TaskError
from tenyson_reasoning_gym.settings import Curriculum, MixturePart
from tenyson_reasoning_gym.worker.client import worker


@dataclass
class Standing:
    """The present level of one data set, and what came of its rollouts."""

    level: int
    rollouts: int = 0
    solved: int = 0

    def observe(self, level: int, solved: bool) -> None:
        """Count a rollout; one of another level says nothing about this one."""
        if level == self.level:
            self.rollouts += 1
            self.solved += solved

    def move(self, rules: Curriculum, highest: int) -> None:
        """Rise or fall by one level where enough rollouts say so.

        Only counts decide, and only between batches, so that the order in which rollouts are scored does not matter.
        """
        if self.rollouts < rules.rollouts:
            return
        share = self.solved / self.rollouts
        level = self.level
        if share >= rules.up_at:
            level = min(highest, level + 1)
        elif rules.down_at is not None and share < rules.down_at:
            level = max(rules.first, level - 1)
        self.level, self.rollouts, self.solved = level, 0, 0


class Levels:
    """The standings of all data sets."""

    def __init__(self, rules: Curriculum, highest: Mapping[str, int]) -> None:
        self._rules = rules
        self._highest = highest
        self._standings = {name: Standing(rules.first) for name in highest}

    def observe(self, name: str, level: int, solved: bool) -> None:
        """Count a rollout of training."""
        self._standings[name].observe(level, solved)

    def present(self, name: str) -> int:
        """The level to play at now."""
        standing = self._standings[name]
        standing.move(self._rules, self._highest[name])
        return standing.level

    def state(self) -> dict[str, Any]:
        """Plain data by data set."""
        return {name: asdict(standing) for name, standing in self._standings.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`. Data sets that it does not have begin at the first level."""
        for name, values in state.items():
            if name in self._standings:
                standing = Standing(**values)
                standing.level = min(max(standing.level, self._rules.first), self._highest[name])
                self._standings[name] = standing


def level_arguments(name: str, part: MixturePart, rules: Curriculum) -> dict[int | None, dict[str, Any]]:
    """The arguments of each level of a data set, from the first to the last, or to the last that can be made.

    Raises: TaskError: it has no curriculum, not so many levels, or arguments that the curriculum decides.
    """
    number = worker().names()["data_sets"][name]
    place = "task.args.curriculum"
    if number == 0:
        raise TaskError(
            f"the data set {name} has no curriculum",
            place=place,
            next_step="Leave curriculum out, or take another data set.",
        )
    last = number - 1 if rules.last is None else rules.last
    if max(rules.first, last) >= number:
        raise TaskError(
            f"{name} has the levels 0 to {number - 1}, and the curriculum goes from {rules.first} to {last}",
            place=place,
        )
    found: dict[int | None, dict[str, Any]] = {}
    for level in range(rules.first, last + 1):
        made = worker().level(name, part.args, level, rules.range)
        if twice := sorted(set(part.args) & set(made["decided"])):
            raise TaskError(
                f"the curriculum decides {', '.join(twice)} of {name}",
                place=place,
                next_step="Take it out of the arguments, or leave curriculum out.",
            )
        if cause := worker().check(name, {**made["config"], "seed": 0, "size": 1})["cause"]:
            # Some curricula define levels that their own configs refuse.
            if found and rules.last is None:
                break
            raise TaskError(
                f"level {level} of {name} cannot be made: {cause}",
                place=place,
                next_step="Set last lower, or leave curriculum out.",
            )
        found[level] = made["config"]
    return found
