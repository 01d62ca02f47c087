"""Broken rollouts: their groups leave the loss whole, and too many of them end or pause training.

Shape legend: B completions on this process; A completions on all of them.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

from typing import Any

import torch

from tenyson.engines.play import Trajectory
from tenyson.errors import TaskError
from tenyson.jobs.data.rollout_records import commonest
from tenyson.jobs.job import JobContext
from tenyson.jobs.runtime.pause import hold_while_paused
from tenyson.tasks.rollout import Rollout
from tenyson.telemetry.control import Asked

MAX_FAILED = 0.1
"""Share of broken rollouts that a batch may have where `rollouts.max_failed` is not set."""
IN_A_ROW = 3
"""Batches with too many broken rollouts before training ends or pauses."""


class NothingLeftError(Exception):
    """Each group of a batch has a broken rollout."""


class BrokenRolloutsMixin:
    """For a GRPOTrainer. A group with a broken rollout carries no gradient: the others' baseline would be that of a part of it."""

    _context: JobContext
    _trajectories: list[Trajectory]
    all_failed: bool

    broken_batches = 0
    """Batches in a row, up to the last one, with more broken rollouts than `rollouts.max_failed` allows."""

    broken: list[Rollout] | None = None
    """Those of this process since its start, for its results."""

    _left_out: torch.Tensor
    """A flags: completions whose groups leave the loss."""

    def find_broken(self) -> None:
        """Find the groups that leave the loss, once all rollouts are played and scored. Raises: NothingLeftError."""
        trainer: Any = self
        group = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
        flags = [one.rollout.error is not None for one in self._trajectories]
        broken = trainer.accelerator.gather(torch.tensor(flags, device=trainer.accelerator.device))
        self.broken = (self.broken or []) + [
            one.rollout for one, is_broken in zip(self._trajectories, flags, strict=True) if is_broken
        ]
        self._broken_share = broken.float().mean().item()
        self._left_out = broken.view(-1, group).any(dim=1).repeat_interleave(group)
        if self._left_out.all():
            raise NothingLeftError

    @property
    def leaves_out(self) -> bool:
        """Whether any group of this batch, on any process, leaves the loss."""
        return bool(self._left_out.any())

    def is_left_out(self) -> list[bool]:
        """B flags: whether the group of a completion of this process leaves the loss."""
        flags: list[bool] = self._of_this_process().tolist()
        return flags

    def broken_groups(self) -> dict[str, str]:
        """Why a group carries no gradient, by its sample."""
        return {
            one.rollout.sample.id: f"a rollout of its group failed: {one.rollout.error.message}"
            for one in reversed(self._trajectories)
            if one.rollout.error
        }

    def count_broken(self) -> None:
        """Count a batch that was recorded. Raises: TaskError: too many of its rollouts and of those before it broke."""
        rollouts = self._context.config.rollouts
        most = MAX_FAILED if rollouts.max_failed is None else rollouts.max_failed
        too_many = self._broken_share > most or bool(self._left_out.all())
        self.broken_batches = self.broken_batches + 1 if too_many else 0
        if self.broken_batches < IN_A_ROW:
            return
        self.broken_batches = 0
        broken = [one.rollout for one in self._trajectories if one.rollout.error is not None]
        why = _words(most, broken)
        if rollouts.on_failed == "pause" and self._context.world.size == 1:
            self._context.controls.accept(Asked("pause"))
            self._context.say(
                f"{why}. Training pauses; `tenyson resume RUN` continues it, and `tenyson rollouts RUN --errors` lists them",
                "warning",
            )
            return
        self.all_failed = True
        raise TaskError(
            why,
            next_step="`tenyson rollouts RUN --errors` lists them. Once what they name works, `tenyson resume RUN` continues from the "
            "checkpoint; rollouts.max_failed says how many may fail.",
        )

    def again(self) -> None:
        """Say that a batch is played once more, and wait where the run is paused."""
        trainer: Any = self
        step = trainer.state.global_step
        self._context.say(
            f"after step {step}, each group of a batch has a rollout that failed: it is played again",
            "warning",
        )
        hold_while_paused(self._context.controls, step, self._context.say, unit="steps")

    def _of_this_process(self) -> torch.Tensor:
        trainer: Any = self
        count = len(self._trajectories)
        return self._left_out[trainer.accelerator.process_index * count :][:count]


def _words(most: float, broken: list[Rollout]) -> str:
    cause = commonest(broken) if broken else "those of other processes"
    return f"too many rollouts failed in {IN_A_ROW} batches in a row (rollouts.max_failed: {most:g}): {cause}"
