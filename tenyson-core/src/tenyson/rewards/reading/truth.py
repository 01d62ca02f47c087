"""Truth: what the right answer to a sample is, in its data or computed from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tenyson.errors import TaskError
from tenyson.tasks.sample import Sample
from tenyson.tasks.usercode import shown, user_code

Truth = str | Callable[[Sample], Any]
"""A key of `sample.data`, or a function of the sample. A list holds several acceptable answers; None means that there is none."""


def truth_of(sample: Sample, truth: Truth, reward: str) -> Any:
    """The right answer as it stands; None where the sample has none.

    Raises: TaskError: there is no such key, or the function raises.
    """
    if not isinstance(truth, str):
        with user_code(f"the truth of the reward {reward}", f" on sample {sample.id}"):
            return truth(sample)
    if truth not in sample.data:
        known = ", ".join(map(str, sample.data)) or "nothing"
        raise TaskError(
            f"the reward {reward}: the data of sample {sample.id} has no {truth!r}; it has {known}",
            next_step=f"Put the right answer there, or name its key: truth={next(iter(sample.data), 'answer')!r}.",
        )
    return sample.data[truth]


def answers_of(sample: Sample, truth: Truth, reward: str) -> list[Any] | None:
    """The acceptable answers; None where the sample has none.

    Raises: TaskError: there is no such key, or the list of answers is empty.
    """
    found = truth_of(sample, truth, reward)
    if found is None:
        return None
    several = isinstance(found, Sequence) and not isinstance(found, (str, bytes))
    answers = list(found) if several else [found]
    if not answers:
        raise unusable(sample, truth, reward, found, "holds no answer")
    return answers


def unusable(sample: Sample, truth: Truth, reward: str, value: Any, why: str) -> TaskError:
    """The error about a right answer that is none."""
    key = f"the data {truth!r}" if isinstance(truth, str) else "the truth"
    return TaskError(
        f"the reward {reward}: {key} of sample {sample.id} {why}: {shown(value)}",
        next_step="Correct the sample, or give None where the answer is not known.",
    )
