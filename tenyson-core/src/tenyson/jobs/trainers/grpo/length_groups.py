"""Length groups: rows of about the same length are computed together, so that short conversations are not padded to the longest.

Shape legend: B rows; P columns of prompts, padded on the left; T columns of completions, padded on the right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import pad

GROUPS = 4
"""Each costs a forward pass of its own, and a fourth of the rows leaves little padding."""
LEAST_ROWS = 16
WORTH = 0.9
"""Rows are grouped where that leaves at most this share of the columns."""

_FLAGS = ("compute_entropy", "compute_aux_loss")

Scores = tuple[torch.Tensor, torch.Tensor | None]
"""Log-probabilities (B, T), and entropies of the same shape where they are asked for."""
Compute = Callable[[torch.Tensor, torch.Tensor, int], Scores]
"""Scores of ids (B, P + T) with their attention mask, for the last T columns."""


def in_groups(compute: Compute, ids: torch.Tensor, attention: torch.Tensor, completion: int) -> Scores | None:
    """The scores of all rows, computed group by group; where a completion has ended they are 0.

    Args:
        ids: (B, P + T).
        attention: (B, P + T), 0 where a row is padded.
        completion: T.

    Returns:
        None where groups would not save enough.
    """
    rows, prompt = len(ids), ids.shape[1] - completion
    if rows < LEAST_ROWS:
        return None
    lengths = attention[:, prompt:].sum(dim=1)
    order = lengths.argsort(stable=True)
    groups = order.tensor_split(GROUPS)
    widths = [max(1, int(lengths[group[-1]])) for group in groups]
    columns = sum(len(group) * (prompt + width) for group, width in zip(groups, widths, strict=True))
    if columns > WORTH * ids.numel():
        return None
    found: list[Scores] = []
    for group, width in zip(groups, widths, strict=True):
        end, missing = prompt + width, completion - width
        logps, entropies = compute(ids[group, :end], attention[group, :end], width)
        found.append((pad(logps, (0, missing)), None if entropies is None else pad(entropies, (0, missing))))
    back = order.argsort()
    logps = torch.cat([one for one, _ in found])[back]
    kept = [one for _, one in found if one is not None]
    return logps, torch.cat(kept)[back] if kept else None


class LengthGroupsMixin:
    """For a GRPOTrainer. It changes nothing unless `conversations` is set: the losses of single replies are TRL's own to the bit."""

    conversations: bool = False
    """Whether replies are conversations of several turns, whose lengths differ most."""

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *arguments: Any,
        **named: Any,
    ) -> Any:
        whole = super()._get_per_token_logps_and_entropies  # type: ignore[misc]
        plain = not arguments and not any(
            value is not None for name, value in named.items() if name not in ("batch_size", *_FLAGS)
        )
        # Where several processes train, each forward pass of one waits for the others'.
        alone = self.accelerator.num_processes == 1  # type: ignore[attr-defined]
        if self.conversations and plain and alone and not named.get("compute_aux_loss"):

            def compute(ids: torch.Tensor, attention: torch.Tensor, completion: int) -> Scores:
                logps, entropies, _ = whole(model, ids, attention, completion, **named)
                return logps, entropies

            if (found := in_groups(compute, input_ids, attention_mask, logits_to_keep)) is not None:
                return (*found, None)
        return whole(model, input_ids, attention_mask, logits_to_keep, *arguments, **named)
