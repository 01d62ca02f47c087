"""Draws tokens from logits, by the rules of a `Sampling`.

Shape legend: R rows; V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tenyson.engines.engine import Sampling
from tenyson.errors import EngineError


class Sampler:
    """Turns logits into tokens. What it does to the logits is what transformers' own classes do, in the order of `generate`.

    The repetition penalty counts no padding, which in `generate` it does.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._penalty = sampling.repetition_penalty
        self._greedy = sampling.temperature == 0
        self._warpers = LogitsProcessorList()
        if self._greedy:
            return
        if sampling.temperature != 1:
            self._warpers.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))
        if sampling.min_p:
            self._warpers.append(MinPLogitsWarper(sampling.min_p))

    def draw(
        self, logits: torch.Tensor, uniform: torch.Tensor, written: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """One token for each row: R ids.

        The token is the first whose cumulative probability exceeds the row's random number: one number a row, where drawing by
        `torch.multinomial` takes V.

        Args:
            logits: (R, V).
            uniform: R numbers in [0, 1).
            written: the tokens that each row has so far, for the repetition penalty.

        Raises:
            EngineError: the logits are not finite.
        """
        scores = logits.float()
        if self._penalty != 1:
            scores = scores.clone()
            for row, tokens in enumerate(written):
                seen = torch.tensor(sorted(set(tokens)), device=scores.device)
                found = scores[row, seen]
                scores[row, seen] = torch.where(found < 0, found * self._penalty, found / self._penalty)
        if self._greedy:
            return scores.argmax(dim=-1)
        scores = self._warpers(None, scores)
        cumulative = scores.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
        if not cumulative[:, -1].isfinite().all():
            raise EngineError(
                "the model's logits are not finite, so no token can be drawn",
                next_step="Weights or activations have overflowed: lower the learning rate, or use another model.dtype.",
            )
        # The sum of the last column, which rounding keeps from being 1. A token of probability 0 is never the first to exceed.
        drawn = uniform.double()[:, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, drawn, right=True)[:, 0].clamp(max=scores.shape[-1] - 1)
