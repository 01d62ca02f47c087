"""Samples: what a job reads of its task, checked one by one, as far as it needs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from tenyson.tasks.checks import check_sample
from tenyson.tasks.sample import Sample
from tenyson.tasks.usercode import iterate, task_name

if TYPE_CHECKING:
    from tenyson.tasks.plugin import TaskPlugin
    from tenyson.tasks.preset import JobType


def read_samples(
    task: TaskPlugin, job: JobType, split: str, seed: int, *, limit: int | None = None
) -> Iterator[Sample]:
    """The task's samples for a job, up to `limit`.

    Raises: TaskError: the task has none for that job, raises, or yields something else.
    """
    hooks = {"sft": task.sft_samples, "rl": task.rl_samples, "eval": task.eval_samples}
    hook = f"{job}_samples({split!r}) of the task {task_name(task)}"
    for number, sample in enumerate(islice(iterate(hook, lambda: hooks[job](split, seed)), limit)):
        yield check_sample(sample, hook, number)
