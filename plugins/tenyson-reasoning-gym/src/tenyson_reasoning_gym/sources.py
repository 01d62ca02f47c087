"""Sources: the entries of each data set that a task takes, for training and for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from tenyson.errors import TaskError
from tenyson_reasoning_gym.worker.client import CHUNK, worker

Split = Literal["train", "eval"]
STRIDE = 7919
"""A prime: so far away the next index is looked for where evaluation has a question."""
TRIES = 32


@dataclass(frozen=True)
class Entry:
    """A question of a data set, without what only its scorer needs."""

    source: str
    level: int | None
    """None without a curriculum."""
    index: int
    question: str
    answer: str | None
    """None where the data set accepts many and names none."""
    digest: str
    """Of question and answer."""

    @property
    def id(self) -> str:
        """The same wherever question and answer are the same."""
        level = "" if self.level is None else f"level-{self.level}/"
        return f"{self.source}/{level}{self.index}-{self.digest}"


@dataclass(frozen=True)
class Source:
    """One data set: its evaluation has the first indices, its training those after them.

    reasoning-gym draws entry i of seed s from s + i, so two seeds share entries; two ranges of one seed share none by
    their numbers. What they share by chance, since a data set may have few questions, is left out of training.
    """

    name: str
    levels: Mapping[int | None, Mapping[str, Any]]
    """The arguments of each level; those of None without a curriculum."""
    sizes: Mapping[Split, int]
    seed: int
    entry_seconds: float

    def config(self, level: int | None) -> dict[str, Any]:
        """All arguments of the config class at a level."""
        size = max(1, sum(self.sizes.values()))
        return {**self.levels[level], "seed": self.seed, "size": size}

    def entries(self, split: Split) -> Iterator[Entry | None]:
        """The entries of a split in order; None where one is left out. With a curriculum they go round the levels."""
        begin = 0 if split == "eval" else self.sizes["eval"]
        levels = list(self.levels)
        slots = range(self.sizes[split])
        seen: set[str] = set()
        for first in range(0, len(slots), CHUNK):
            chunk = slots[first : first + CHUNK]
            found: dict[int, Entry] = {}
            for level in levels:
                indices = [begin + slot for slot in chunk if levels[slot % len(levels)] == level]
                found |= {entry.index: entry for entry in self._read(level, indices)}
            for slot in chunk:
                entry = found[begin + slot]
                if split == "eval":
                    yield None if entry.question in seen else entry
                    seen.add(entry.question)
                else:
                    yield None if entry.question in self.held_out else entry

    def at_level(self, level: int | None, index: int) -> Entry:
        """The training entry at a level in place of that with `index`; the next that evaluation does not have.

        Raises: TaskError: evaluation has all that were looked at.
        """
        begin, size = self.sizes["eval"], self.sizes["train"]
        for step in range(TRIES):
            (entry,) = self._read(level, [begin + (index - begin + step * STRIDE) % size])
            if entry.question not in self.held_out:
                return entry
        raise TaskError(
            f"level {level} of {self.name} has hardly a question that is not in the eval split",
            place="task.args",
            next_step="Set eval_size lower, or curriculum.first higher.",
        )

    @cached_property
    def held_out(self) -> frozenset[str]:
        """The questions of evaluation, of all levels."""
        return frozenset(entry.question for entry in self.entries("eval") if entry is not None)

    def _read(self, level: int | None, indices: Sequence[int]) -> Iterator[Entry]:
        if not indices:
            return
        for found in worker().entries(self.name, self.config(level), indices, self.entry_seconds):
            yield Entry(
                source=self.name,
                level=level,
                index=found["index"],
                question=found["question"],
                answer=found["answer"],
                digest=found["digest"],
            )


def shares(weights: Mapping[str, float], number: int) -> list[str]:
    """The source of each of `number` samples: every beginning of the list has the weights' proportions, as near as can be."""
    if not weights:
        return []
    total = sum(weights.values())
    taken = dict.fromkeys(weights, 0)
    order = []
    for place in range(1, number + 1):
        name = max(weights, key=lambda one: weights[one] / total * place - taken[one])
        taken[name] += 1
        order.append(name)
    return order


def mixed(sources: Mapping[str, Source], order: Sequence[str], split: Split) -> Iterator[Entry]:
    """The entries of all sources, interleaved in `order`."""
    reading = {name: source.entries(split) for name, source in sources.items()}
    for name in order:
        entry = next(reading[name])
        if entry is not None:
            yield entry
