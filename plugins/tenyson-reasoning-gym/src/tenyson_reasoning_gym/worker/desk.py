"""What the worker does for a request: describe a data set, generate entries, score an answer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
from collections import OrderedDict
from importlib.metadata import version
from typing import Any

import numpy
import reasoning_gym  # noqa: F401  registers the data sets
from reasoning_gym.coaching.base_curriculum import DefaultCurriculumContext, RangeAttributeMode
from reasoning_gym.factory import CURRICULA, DATASETS
from reasoning_gym.utils import SYSTEM_PROMPTS

from tenyson.core.workers import TimeLimitError, time_limit
from tenyson_reasoning_gym.worker import guards

ENTRIES = 20_000
"""Entries that are kept; others are generated again where an answer to them is scored."""
LEFT_OUT = frozenset({"composite"})
"""A mixture is `datasets` of the task."""
LOADING = 300.0
"""Seconds in which a data set must be made: some read files or generate everything at once."""

Config = dict[str, Any]


class Desk:
    """The requests, one method each. A data set is named by `name` and `config`, the arguments of its config class."""

    def __init__(self) -> None:
        self._data_sets: dict[str, Any] = {}
        self._entries: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()

    def names(self) -> dict[str, Any]:
        """The version, all data sets with the number of their levels (0: no curriculum), and the system prompts."""
        names = sorted(set(DATASETS) - LEFT_OUT)
        return {
            "version": version("reasoning-gym"),
            "data_sets": {name: _levels(name) for name in names},
            "system_prompts": SYSTEM_PROMPTS,
        }

    def check(self, name: str, config: Config) -> dict[str, Any]:
        """The fields of a config class, and what it says against `config`, None if nothing."""
        fields = {field.name for field in dataclasses.fields(DATASETS[name][1])}
        unknown = sorted(set(config) - fields)
        cause = None
        if not unknown:
            try:
                made = DATASETS[name][1](**config)
                if hasattr(made, "validate"):
                    made.validate()
            except Exception as error:
                cause = str(error) or type(error).__name__
        return {"fields": sorted(fields), "unknown": unknown, "cause": cause}

    def level(self, name: str, config: Config, level: int, mode: str) -> dict[str, Any]:
        """The config of a level, as JSON, and the names that the curriculum decides."""
        curriculum = CURRICULA[name]()
        curriculum.set_global_level(level)
        decided: set[str] = set()
        for attribute in curriculum.attributes.values():
            names = ("field_name", "lower_field_name", "upper_field_name")
            decided |= {getattr(attribute, one) for one in names if hasattr(attribute, one)}
        made = curriculum.generate_configuration(
            dict(config), DefaultCurriculumContext(mode=RangeAttributeMode(mode))
        )
        values = {one: getattr(made, one) for one in sorted(decided | set(config))}
        return {"config": json.loads(json.dumps(values)), "decided": sorted(decided)}

    def entries(self, name: str, config: Config, indices: list[int], seconds: float) -> list[dict[str, Any]]:
        """Question, answer and digest of the entries at `indices`. Raises: what the data set raises."""
        found = []
        for index in indices:
            entry = self._entry(name, config, index, seconds)
            answer = entry["answer"]
            found.append(
                {
                    "index": index,
                    "question": str(entry["question"]),
                    "answer": None if answer is None else str(answer),
                    "digest": digest(entry),
                }
            )
        return found

    def score(
        self, name: str, config: Config, index: int, expected: str, answer: str | None, seconds: float
    ) -> dict[str, Any]:
        """The data set's score of an answer, from 0 to 1; 0 where it raises or takes longer than `seconds`."""
        entry = self._entry(name, config, index, LOADING)
        if digest(entry) != expected:
            raise ValueError(
                f"entry {index} is another one than before: its generator does not repeat itself"
            )
        if guards.refuses(name, answer):
            return {"score": 0.0}
        data_set = self._data_set(name, config)
        _seed(name, index)
        try:
            with time_limit(seconds):
                scored = float(guards.scorer(name, data_set)(answer, entry))
        except (Exception, TimeLimitError) as error:
            # Scorers parse what the model wrote, which may be anything.
            return {"score": 0.0, "raised": f"{type(error).__name__}: {error}"[:200]}
        return {"score": min(1.0, max(0.0, scored)) if math.isfinite(scored) else 0.0}

    def _data_set(self, name: str, config: Config) -> Any:
        key = json.dumps([name, config], sort_keys=True)
        if key not in self._data_sets:
            cls, config_cls = DATASETS[name]
            guards.shield(cls)
            _seed(name, -1)
            with time_limit(LOADING):
                self._data_sets[key] = cls(config_cls(**config))
        return self._data_sets[key]

    def _entry(self, name: str, config: Config, index: int, seconds: float) -> dict[str, Any]:
        key = (json.dumps([name, config], sort_keys=True), index)
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        data_set = self._data_set(name, config)
        _seed(name, index)
        with time_limit(seconds):
            entry: dict[str, Any] = data_set[index]
        self._entries[key] = entry
        if len(self._entries) > ENTRIES:
            self._entries.popitem(last=False)
        return entry


def digest(entry: dict[str, Any]) -> str:
    """Eight hexadecimal digits of question and answer."""
    text = json.dumps([str(entry["question"]), str(entry["answer"])])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _levels(name: str) -> int:
    if name not in CURRICULA:
        return 0
    return max((len(attribute.levels) for attribute in CURRICULA[name]().attributes.values()), default=0)


def _seed(name: str, index: int) -> None:
    """Some data sets draw from the global random states, whatever their seed."""
    random.seed(f"{name}/{index}")
    numpy.random.seed(int(hashlib.sha256(f"{name}/{index}".encode()).hexdigest()[:8], 16))
