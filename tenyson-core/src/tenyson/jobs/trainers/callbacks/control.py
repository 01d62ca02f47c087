"""The callback that does between two steps what was asked of a training.

Imports transformers: import this module only inside a job.
"""

# ruff: noqa: ARG002  (the Trainer hands the same arguments to every callback)

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tenyson.jobs.runtime.world import largest
from tenyson.telemetry.control import Controls, StopSignal


class ManualStopTelemetryCallback(TrainerCallback):  # type: ignore[misc]
    """Does between two steps what was asked of the run: stop, pause, resume, checkpoint, extend.

    A stop ends training after the current step, with a checkpoint. With several processes they agree first (the
    largest of each number over all ranks; all but rank 0's are zero, except for a signal), so that none waits for another.
    """

    def __init__(
        self,
        controls: Controls | StopSignal,
        *,
        say: Callable[[str], None] | None = None,
        stopping: Callable[[int], None] | None = None,
        save_minutes: float | None = None,
        pause_seconds: float = 0.5,
    ) -> None:
        """`pause_seconds`: between two looks while the run is paused. `say` tells whoever watches; `stopping` is told the
        step after which training ends. `save_minutes`: a checkpoint is due so long after the last one.
        """
        self._controls = controls if isinstance(controls, Controls) else Controls(controls)
        self._say = say or (lambda _: None)
        self._stopping = stopping or (lambda _: None)
        self._save_seconds = None if save_minutes is None else 60 * save_minutes
        self._saved_at = time.monotonic()
        self._pause_seconds = pause_seconds
        self.extend: Callable[[int], None] | None = None
        """Adds steps to the training; set once there is a trainer (`tenyson.jobs.checkpoints.extension`)."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Look at what was asked after each optimizer step."""
        return self._look(state, control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Look again after an evaluation, which may have taken long."""
        return self._look(state, control)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """From here on the time to the next one counts."""
        self._saved_at = time.monotonic()

    def _look(self, state: TrainerState, control: TrainerControl) -> TrainerControl:
        controls, step = self._controls, state.global_step
        stop, paused, checkpoint, steps, due = self._agreed()
        if paused and not stop:
            stop, checkpoint, steps = self._hold(step, checkpoint, steps)
        if due:
            control.should_save = True
        if steps and self.extend is not None:
            self.extend(steps)
            # The trainer's own callback has looked at the former end already.
            control.should_training_stop = False
            controls.extended(steps, step)
            self._say(
                f"{steps} steps were added after step {step}: training ends at step {state.max_steps}, and the "
                "learning-rate schedule is that of the new total"
            )
        if checkpoint:
            control.should_save = True
            controls.done("checkpoint", step)
        if stop:
            self._stopping(step)
            control.should_training_stop = True
            control.should_save = True
            controls.applied("stop", step)
        return control

    def _hold(self, step: int, checkpoint: int, steps: int) -> tuple[int, int, int]:
        """Wait until the run is resumed or stopped; keeps what else was asked in the meantime."""
        self._controls.applied("pause", step)
        self._say(f"paused after step {step}")
        paused, stop = 1, 0
        while paused and not stop:
            time.sleep(self._pause_seconds)
            stop, paused, checkpoint, steps, _ = self._agreed()
        self._controls.applied("resume", step)
        if not stop:
            self._say(f"resumed after step {step}")
        return stop, checkpoint, steps

    def _agreed(self) -> list[int]:
        controls = self._controls
        due = self._save_seconds is not None and time.monotonic() - self._saved_at > self._save_seconds
        asked = (controls.stop.requested, controls.paused, controls.checkpoint, controls.extend, due)
        return largest(list(map(int, asked)))
