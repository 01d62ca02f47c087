"""Callbacks that turn what a trainer reports into events.

Imports transformers: import this module only inside a job.
"""

# ruff: noqa: ARG002  (the Trainer hands the same arguments to every callback)

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.events import EpochEnded, MetricsLogged, Phase


class _MetricsCallback(TrainerCallback):  # type: ignore[misc]
    """Sends every row that the trainer logs, from the main process only."""

    phase: Phase

    def __init__(
        self,
        telemetry: Telemetry,
        run_id: str,
        total_steps: int | None = None,
        *,
        phase: Phase | None = None,
    ) -> None:
        """`total_steps`: optimizer steps of the run; the trainer's own count where it is None. `phase`: of its kind of job."""
        self.phase = phase or self.phase
        self._telemetry = telemetry
        self._run_id = run_id
        self._total_steps = total_steps

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Emit the numbers of one step. `epoch` goes into its own field; what is not a number is left out."""
        values = {
            name: float(value)
            for name, value in (logs or {}).items()
            if name != "epoch" and isinstance(value, (int, float))
        }
        if state.is_world_process_zero and values:
            self._telemetry.emit(
                MetricsLogged(
                    run_id=self._run_id,
                    phase=self.phase,
                    step=state.global_step,
                    total_steps=self._total_steps or state.max_steps or None,
                    epoch=state.epoch,
                    values=values,
                )
            )


class SFTTelemetryCallback(_MetricsCallback):
    """Writes an SFT trainer's rows into `sft_metrics`."""

    phase = "sft"


class GRPOEpochTelemetryCallback(_MetricsCallback):
    """Writes a GRPO trainer's rows into `step_metrics`, and each epoch's mean loss and KL into `epoch_metrics`.

    The means are over optimizer steps. Where `logging_steps` leaves steps at an epoch's end without a row, the
    trainer is asked for one more, so that every step counts in its own epoch. KL is None where `beta` is 0. After a resume
    in the middle of an epoch, its means are over the steps of this attempt.
    """

    phase = "rl"

    def __init__(
        self,
        telemetry: Telemetry,
        run_id: str,
        total_steps: int | None = None,
        *,
        phase: Phase | None = None,
    ) -> None:
        super().__init__(telemetry, run_id, total_steps, phase=phase)
        self._last_row = 0
        self._ended: int | None = None
        self._means: dict[str, _Mean] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin counting where a resumed run continues."""
        self._last_row = state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Emit the step's numbers and add its loss and KL to the epoch's."""
        super().on_log(args, state, control, logs=logs, **kwargs)
        steps = state.global_step - self._last_row
        if logs and "loss" in logs and steps > 0:
            self._last_row = state.global_step
            for name in ("loss", "kl"):
                if isinstance(value := logs.get(name), (int, float)):
                    self._means.setdefault(name, _Mean()).add(float(value), steps)
            self._end_epoch(state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Emit the epoch's means, now or after the row that is still to come."""
        # The trainer's epoch is a fraction of steps: 1.9999 is the end of the second.
        self._ended = max(1, math.ceil((state.epoch or 0) - 1e-3))
        if state.global_step > self._last_row:
            control.should_log = True
        else:
            self._end_epoch(state)
        return control

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Emit an epoch whose last row never came."""
        self._end_epoch(state)

    def _end_epoch(self, state: TrainerState) -> None:
        if self._ended is None:
            return
        means = {name: mean.value for name, mean in self._means.items()}
        if state.is_world_process_zero:
            self._telemetry.emit(
                EpochEnded(
                    run_id=self._run_id,
                    phase=self.phase,
                    epoch=self._ended,
                    step=state.global_step,
                    loss=means.get("loss"),
                    kl=means.get("kl"),
                )
            )
        self._ended = None
        self._means.clear()


class AttemptTelemetryCallback(TrainerCallback):  # type: ignore[misc]
    """Records at which step training begins, so that a resumed attempt's rows supersede those it repeats; makes it
    log, saves and evaluates as often as is asked for now: transformers goes by what the checkpoint remembers.
    """

    def __init__(self, began: Callable[[int, str | None], None], checkpoint: Path | None) -> None:
        """`began`: takes the step and the checkpoint."""
        self._began = began
        self._checkpoint = checkpoint

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The state is that of the checkpoint by now."""
        state.compute_steps(args, state.max_steps)
        self._began(state.global_step, None if self._checkpoint is None else str(self._checkpoint))


class _Mean:
    """A mean over optimizer steps."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._steps = 0

    def add(self, value: float, steps: int) -> None:
        self._sum += value * steps
        self._steps += steps

    @property
    def value(self) -> float:
        return self._sum / self._steps
