"""Draws tokens from logits, by the rules of a `Sampling`.

Shape legend: R rows; V vocabulary; L tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tenyson.engines.engine import DRAWN, Sampling
from tenyson.errors import EngineError

_Rule = TypeVar("_Rule")


class Row(NamedTuple):
    """The tokens before the one that is drawn."""

    prompt: Sequence[int]
    reply: Sequence[int]
    """What the model has written since the prompt."""


Penalty = Callable[[torch.Tensor, Row, float], None]
"""Changes the logits (V) of a row in place, by the parameter's value."""


def _repetition(scores: torch.Tensor, row: Row, penalty: float) -> None:
    seen = _distinct([*row.prompt, *row.reply], scores)
    found = scores[seen]
    scores[seen] = torch.where(found < 0, found * penalty, found / penalty)


def _distinct(tokens: Sequence[int], scores: torch.Tensor) -> torch.Tensor:
    """Indices of the tokens that occur."""
    return torch.tensor(sorted(set(tokens)), dtype=torch.long, device=scores.device)


PENALTIES: Mapping[str, Penalty] = {"repetition_penalty": _repetition}
"""Parameters of `Sampling` that act before the temperature, also in greedy decoding; in the order in which they act."""
GENERATE_PENALTIES = frozenset({"repetition_penalty"})
"""Those that transformers' `generate` has under the same name; it counts padding too."""
WARPERS: Mapping[str, Callable[..., LogitsProcessor]] = {
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
}
"""Parameters of `Sampling` that act only where tokens are drawn. `generate` makes the same classes of the same names, in this
order."""


class Sampler:
    """Turns logits into tokens. What it does to the logits is what transformers' own classes do, in the order of `generate`.

    The repetition penalty counts no padding, which in `generate` it does.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._penalties = _active(PENALTIES, sampling)
        self._greedy = sampling.temperature == 0
        warpers = [] if self._greedy else _active(WARPERS, sampling)
        self._warpers = LogitsProcessorList([make(value) for make, value in warpers])
        self._scores = torch.empty(0)

    def draw(self, logits: torch.Tensor, uniform: torch.Tensor, written: Sequence[Row]) -> torch.Tensor:
        """One token for each row: R ids.

        The token is the first whose cumulative probability exceeds the row's random number: one number a row, where drawing by
        `torch.multinomial` takes V.

        Args:
            logits: (R, V).
            uniform: R numbers in [0, 1).
            written: the tokens that each row has so far, for the penalties.

        Raises:
            EngineError: the logits are not finite.
        """
        scores = _penalized(logits.float(), written, self._penalties)
        self._scores = scores
        if self._greedy:
            return scores.argmax(dim=-1)
        self._scores = scores = self._warpers(None, scores)
        cumulative = scores.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
        if not cumulative[:, -1].isfinite().all():
            raise EngineError(
                "the model's logits are not finite, so no token can be drawn",
                next_step="Weights or activations have overflowed: lower the learning rate, or use another model.dtype.",
            )
        # The sum of the last column, which rounding keeps from being 1. A token of probability 0 is never the first to exceed.
        drawn = uniform.double()[:, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, drawn, right=True)[:, 0].clamp(max=scores.shape[-1] - 1)

    def logprobs(self, tokens: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (R, in nats) of the tokens that `draw` returned last, under what they were drawn from."""
        return self._scores.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]


class GeneratePenalties(LogitsProcessor):  # type: ignore[misc]
    """The penalties that transformers' `generate` has no argument for.

    Args:
        prompts: without the padding that `generate` has on their left.
    """

    def __init__(self, sampling: Sampling, prompts: Sequence[Sequence[int]]) -> None:
        further = {name: rule for name, rule in PENALTIES.items() if name not in GENERATE_PENALTIES}
        self._penalties = _active(further, sampling)
        self._prompts = prompts
        self._width = max(map(len, prompts))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores (R, V) after the penalties. `input_ids`: (R, L); with beams, each prompt has several rows."""
        if not self._penalties:
            return scores
        beams = len(input_ids) // len(self._prompts)
        replies = input_ids[:, self._width :].tolist()
        written = [Row(self._prompts[line // beams], reply) for line, reply in enumerate(replies)]
        return _penalized(scores, written, self._penalties)


def _active(rules: Mapping[str, _Rule], sampling: Sampling) -> list[tuple[_Rule, float]]:
    """The rules that are not off, each with its parameter's value."""
    values = {name: getattr(sampling, name) for name in rules}
    return [(rule, values[name]) for name, rule in rules.items() if values[name] != DRAWN[name]]


def _penalized(
    logits: torch.Tensor, written: Sequence[Row], penalties: Sequence[tuple[Penalty, float]]
) -> torch.Tensor:
    """The logits (R, V) after the penalties; those given stay as they are."""
    if not penalties:
        return logits
    scores = logits.clone()
    for line, row in enumerate(written):
        for penalize, value in penalties:
            penalize(scores[line], row, value)
    return scores
