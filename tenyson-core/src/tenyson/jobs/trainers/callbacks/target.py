"""Ends of a training by its eval_loss: once it is low enough, so that runs with other seeds end equally far, or no longer falls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

if TYPE_CHECKING:
    from tenyson.config.schema import TrainingConfig


def eval_loss_callbacks(training: TrainingConfig) -> list[TrainerCallback]:
    """Callbacks that end a training by its `eval_loss`, as far as it is configured."""
    found: list[TrainerCallback] = []
    if training.early_stopping_patience is not None:
        found.append(
            EarlyStoppingCallback(training.early_stopping_patience, training.early_stopping_min_delta)
        )
    if training.target_eval_loss is not None:
        found.append(TargetLossCallback(training.target_eval_loss))
    return found


class TargetLossCallback(TrainerCallback):  # type: ignore[misc]
    """Ends training at the first evaluation whose `eval_loss` (nats a token) is at or below `target`."""

    def __init__(self, target: float) -> None:
        self.target = target

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Look at each evaluation."""
        if metrics.get("eval_loss", float("inf")) <= self.target:
            control.should_training_stop = True
