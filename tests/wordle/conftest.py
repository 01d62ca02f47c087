"""Games played through the public surface: a task, a sample, replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tenyson.tasks import Message, Rollout
from tenyson_wordle.task import WordleTask

WORDING = {"first", "guess", "place", "count", "reply"}
"""Words that stand in every prompt or answer, whatever the secret; some of them are secrets too."""


def spelt(text: str) -> str:
    """A text whose lines of single letters are words again."""
    return "\n".join(line.replace(" ", "") if len(line) == 9 else line for line in text.splitlines())


def play(task: WordleTask, secret: str, replies: Sequence[str], split: str = "all", **kwargs: Any) -> Rollout:
    """What a job does: a fresh environment, each reply stepped until it is done."""
    sample = next(s for s in task.eval_samples(split, 0) if s.data["secret"] == secret)
    environment = task.environment(sample)
    messages: list[Message] = []
    info: dict[str, Any] = {}
    for reply in replies:
        messages.append({"role": "assistant", "content": reply})
        if environment is None:
            break
        observation = environment.step(reply)
        if observation.done:
            break
        messages.append({"role": "user", "content": observation.content})
    if environment is not None:
        info = dict(environment.info())
    return Rollout(sample, messages, info=info, **kwargs)


def total(task: WordleTask, rollout: Rollout) -> float:
    """The reward as jobs add it up."""
    return sum(reward.weight * (reward(rollout) or 0.0) for reward in task.rewards())


@pytest.fixture
def chat() -> WordleTask:
    """The default task."""
    return WordleTask()


@pytest.fixture
def compact() -> WordleTask:
    """The tiny model's task."""
    return WordleTask(words="tiny", style="compact")


@pytest.fixture
def tagged() -> Callable[[str], str]:
    """A well-formed reply."""
    return lambda word: f"<guess>{word}</guess>"
