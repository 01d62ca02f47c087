"""Random states of this process: of Python, numpy and torch, remembered and put back.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch


def random_states() -> tuple[Any, ...]:
    """All of them, as they are now."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    return random.getstate(), numpy.random.get_state(), torch.random.get_rng_state(), cuda


def set_random_states(states: tuple[Any, ...]) -> None:
    """Put back what `random_states` returned."""
    python, numbers, cpu, cuda = states
    random.setstate(python)
    numpy.random.set_state(numbers)
    torch.random.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)


class TorchStream:
    """torch's random numbers of this trainer alone, whatever a task's code draws or seeds in between."""

    def __init__(self) -> None:
        self._states = self._now()

    def leave(self) -> None:
        """A task's code runs next."""
        self._states = self._now()

    def come_back(self) -> None:
        """The trainer draws next."""
        cpu, cuda = self._states
        torch.random.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

    def _now(self) -> tuple[torch.Tensor, list[torch.Tensor] | None]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
        return torch.random.get_rng_state(), cuda


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Afterwards everything draws random numbers as if nothing had been drawn in here."""
    states = random_states()
    try:
        yield
    finally:
        set_random_states(states)
