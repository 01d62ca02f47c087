"""What a trial leaves as it was: random numbers of the process, and what the task remembers."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.usercode import task_name, user_code


@contextmanager
def as_before(task: TaskPlugin) -> Iterator[None]:
    """Afterwards everything draws random numbers, and the task remembers, as if nothing had been done in here.

    Raises: TaskError: the task's `state` or `restore` raises.
    """
    hook = f"of the task {task_name(task)}"
    with user_code(f"state() {hook}"):
        remembered = deepcopy(dict(task.state()))
    try:
        with _random_states_kept():
            yield
    finally:
        with user_code(f"restore() {hook}"):
            task.restore(remembered)


@contextmanager
def _random_states_kept() -> Iterator[None]:
    if "torch" in sys.modules:
        from tenyson.jobs.checkpoints.randomness import random_states_kept

        with random_states_kept():
            yield
        return
    # An evaluation of a model behind a URL needs no torch.
    python, numpy = random.getstate(), sys.modules.get("numpy")
    numbers = numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(numbers)
