"""The emergency checkpoint: where the next batch cannot be generated or scored, or is given up for a stop, the last step boundary is
saved.

Weights and optimizer are still those of the boundary then, since they change at the end of a step only. What has moved on
(random numbers, counters, the task's own state) is remembered at each boundary, so that the resume is exact.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_utils import TrainOutput

from tenyson.jobs.checkpoints.randomness import random_states, set_random_states
from tenyson.jobs.checkpoints.trainer_mixin import CheckpointMixin
from tenyson.telemetry.control import INTERRUPTIONS

EVALUATION_DUE = "evaluation_due"
"""In a process's own state: training was about to evaluate at this step."""


@dataclass(frozen=True)
class _Boundary:
    """What a process holds at a step, besides weights, optimizer and schedule."""

    own: tuple[dict[str, Any], dict[str, torch.Tensor]]
    tokens_seen: int
    random_states: tuple[Any, ...]


class BatchGivenUpError(Exception):
    """A stop was asked for in the middle of a batch, which is dropped whole: a resume makes the same one."""


class EmergencyMixin(CheckpointMixin):
    """Makes a Trainer lose no finished step to a batch that cannot be generated or scored, and end within a step that takes long."""

    _boundary: _Boundary | None = None
    _batch_failed = False
    _evaluation_due = False

    @contextmanager
    def making_a_batch(self) -> Iterator[None]:
        """Generating and scoring: an exception in here leaves weights and optimizer as they were."""
        try:
            yield
        except Exception:
            self._batch_failed = self.args.world_size == 1 or self.all_failed
            raise

    all_failed = False
    """Whether every process has failed at the same place, so that they can save together."""

    def resume(self, checkpoint: Path | None) -> Any:
        """As `CheckpointMixin.resume`; a batch that fails leaves a checkpoint of the last step boundary."""
        try:
            return super().resume(checkpoint)
        except BatchGivenUpError:
            return self._end_within_step()
        except Exception:
            if self._batch_failed and self._boundary is not None and self.state.global_step:
                self._save_boundary(self._boundary)
            raise

    def look_at_stop(self) -> None:
        """Between two turns or micro-batches. Raises: BatchGivenUpError: the job is to end, and need not finish the step.

        Several processes come here differently often, so they finish the step together. So does a run whose best model is wanted
        at its end, unless it is interrupted and will be resumed.
        """
        stop = self._job.stop
        if not stop.requested or self.args.world_size > 1:
            return
        if stop.reason in INTERRUPTIONS or not self.args.load_best_model_at_end:
            raise BatchGivenUpError

    def training_step(self, *arguments: Any, **named: Any) -> Any:
        """One micro-batch."""
        self.look_at_stop()
        return super().training_step(*arguments, **named)  # type: ignore[misc]

    def _end_within_step(self) -> TrainOutput:
        step = self.state.global_step
        self._batch_failed = True
        self._job.stopping(step)
        self._job.controls.applied("stop", step)
        self._job.say(
            f"{self._job.stop.reason}: the step after {step} was under way and is dropped whole", "warning"
        )
        if self._boundary is not None and step:
            self._save_boundary(self._boundary)
        self.control.should_training_stop = True
        self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)
        return TrainOutput(step, 0.0, {})

    def own_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """As `CheckpointMixin.own_state`; in an emergency, that of the last boundary."""
        if self._batch_failed and self._boundary is not None:
            return self._boundary.own
        return super().own_state()

    def restore_own_state(self, state: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """As `CheckpointMixin.restore_own_state`; an evaluation that failed is due again."""
        super().restore_own_state(state, tensors)
        self._evaluation_due = state.get(EVALUATION_DUE, False)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if self._evaluation_due:
            self._evaluation_due = False
            self._evaluate(None, None)

    def _maybe_log_save_evaluate(self, *arguments: Any, **named: Any) -> None:
        super()._maybe_log_save_evaluate(*arguments, **named)  # type: ignore[misc]
        self._mark_boundary()

    def _evaluate(self, *arguments: Any, **named: Any) -> Any:
        self._mark_boundary(evaluation_due=True)
        return super()._evaluate(*arguments, **named)  # type: ignore[misc]

    def _mark_boundary(self, *, evaluation_due: bool = False) -> None:
        state, tensors = self.own_state()
        state = copy.deepcopy(state) | ({EVALUATION_DUE: True} if evaluation_due else {})
        self._boundary = _Boundary((state, tensors), self.state.num_input_tokens_seen, random_states())

    def _save_boundary(self, boundary: _Boundary) -> None:
        step = self.state.global_step
        path = self.checkpoints / f"step-{step}"
        if not path.is_dir() or path.name in self._former:
            set_random_states(boundary.random_states)
            self.state.num_input_tokens_seen = boundary.tokens_seen
            self._save_checkpoint(self.model, None)
            self._saver.wait()
        if path.is_dir():
            what = "was dropped" if self._job.stop.requested else "failed"
            self._job.say(
                f"the batch after step {step} {what}; step {step} is saved in {path}, and a resume repeats the batch",
                "warning",
            )
