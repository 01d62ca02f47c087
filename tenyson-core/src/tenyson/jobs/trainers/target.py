"""Stopping at a target: SFT ends once eval_loss is low enough, so that runs with other seeds end equally far."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


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
