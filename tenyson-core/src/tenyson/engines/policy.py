"""PolicyEngine: an engine whose weights follow those of a model in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tenyson.engines.engine import ContinuousEngine
from tenyson.errors import LogprobMismatchError


class PolicyEngine(ContinuousEngine, Protocol):
    """Generates with the weights that a model in training had at the last `update`."""

    name: str

    def update(self, model: Any) -> None:
        """Take over all weights of `model` (of transformers or PEFT), which stays as it is."""

    def refresh(self) -> None:
        """Forget what is cached of earlier prompts, so that a batch comes out the same whatever came before it."""

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        """Log-probability (nats, at temperature 1) of each of `ids` but the first, given those before it."""

    def close(self) -> None:
        """Free its memory."""


def check_policy(
    engine: PolicyEngine, model: Any, ids: Sequence[int], *, step: int, tolerance: float
) -> float:
    """Compare the engine's log-probabilities of one text with the trainer's; returns the mean difference in nats a token.

    Args:
        model: the model in training, of transformers or PEFT.
        ids: the text, at least two token ids.
        step: the optimizer step, for the message.
        tolerance: the largest mean difference that is accepted, in nats a token.

    Raises:
        LogprobMismatchError: they differ by more, or are no numbers.
    """
    theirs, ours = engine.logprobs(ids), model_logprobs(model, ids)
    difference = sum(abs(a - b) for a, b in zip(theirs, ours, strict=True)) / len(ours)
    if not difference <= tolerance:  # also where it is not a number
        raise LogprobMismatchError(
            f"the engine {engine.name} and the trainer do not hold the same policy: their log-probabilities of one prompt "
            f"differ by {difference:.3g} nats a token ({tolerance:g} are accepted)",
            place=f"step {step}",
            next_step="Set generation.engine: transformers and resume from the latest checkpoint; the checkpoint is not affected.",
        )
    return difference


def model_logprobs(model: Any, ids: Sequence[int]) -> list[float]:
    """Log-probability (nats) of each of `ids` but the first under a model of transformers, without dropout."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            row = torch.tensor([list(ids)], device=model.device)
            scores = model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, :-1].float()
        picked = scores.log_softmax(-1).gather(1, row[0, 1:, None])[:, 0]
    finally:
        model.train(training)
    found: list[float] = picked.tolist()
    return found
