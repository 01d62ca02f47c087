"""Every data set of reasoning-gym through the task: a sample builds, its answer scores 1, nonsense less, and all of it repeats."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tenyson.tasks import Rollout
from tenyson_reasoning_gym.task import ReasoningGymTask
from tenyson_reasoning_gym.worker.client import Worker, worker

pytestmark = pytest.mark.slow


def registered() -> list[str]:
    """Names of the data sets as the sources have them: while tests are collected, no worker is started to ask."""
    spec = find_spec("reasoning_gym")
    assert spec is not None
    sources = [
        path.read_text(encoding="utf-8")
        for folder in spec.submodule_search_locations or ()
        for path in Path(folder).rglob("*.py")
    ]
    pattern = re.compile(r"^(?:DATASET_NAME = |register_dataset\(\s*)\"(\w+)\"", re.MULTILINE)
    return sorted({name for text in sources for name in pattern.findall(text)} - {"composite"})


NAMES = registered()
ACCEPT_MANY = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
"""Their questions have many right answers, of which the generator names none."""
NONSENSE = (
    "",
    "x",
    "\N{SNOWMAN}\0" * 50,
    "a long answer " * 200,
    "\ud800",
    "1e999",
    "nan",
    "9" * 10_000,
    "[[" * 2000,
    "{}",
    "a" * 100_000,
    "1/0",
    "9**9**9",
)


@pytest.fixture(scope="module")
def other() -> Iterator[Worker]:
    """A process of its own."""
    found = Worker()
    yield found
    found.close()


def test_none_is_left_out() -> None:
    """The names that the tests below go through are those that the worker knows."""
    assert sorted(worker().names()["data_sets"]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_builds_and_is_scored(name: str, other: Worker) -> None:
    """Its answer is worth 1 and nonsense less; no text raises; another process makes the same entry."""
    task = ReasoningGymTask(
        dataset=name, train_size=1, eval_size=1, entry_seconds=300, score_seconds=2, answer="text"
    )
    (sample,) = task.eval_samples("eval", 0)
    accuracy = task.rewards()[0]

    def score(text: str) -> float | None:
        return accuracy(Rollout(sample, [{"role": "assistant", "content": text}]))

    answer = sample.data["answer"]
    assert (answer is None) == (name in ACCEPT_MANY)
    if answer is not None:
        assert score(answer) == 1
    for text in NONSENSE:
        value = score(text)
        assert value is not None
        assert 0 <= value < 1, f"{text[:20]!r} is worth {value}"
    source = task.sources[name]
    (again,) = other.entries(name, source.config(None), [sample.data["index"]], 300)
    assert again["digest"] == sample.data["digest"]
