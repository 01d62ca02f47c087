"""Joined rows: SFT puts the samples of a batch into one row instead of padding them, where that saves time and the model allows it.

The samples of each step stay the same, so batch_size, epochs and the loss keep their meaning; only the padding goes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.data.token_rows import TokenRows
    from tenyson.jobs.models.dims import Dims

WORTH = 0.8
"""Rows are joined where they need at most this share of the arithmetic of padded ones: masks of joined rows cost time too."""
_PROBED = 12
_SHARED = 0.05


@dataclass(frozen=True)
class Joining:
    """Whether rows are joined, and why."""

    joined: bool
    reason: str
    """In words; empty where nobody needs to be told."""


def decide(config: Config, arguments: Any, dims: Dims | None, rows: TokenRows, model: Any) -> Joining:
    """Whether the rows of a batch are joined.

    Args:
        arguments: TRL's, as they are before.
        rows: of the training split.
        model: runs three short forward passes, unless its kernel reads the samples' boundaries.
    """
    trl = config.trl
    batch: int = arguments.per_device_train_batch_size
    changed = arguments.neftune_noise_alpha or arguments.pad_to_multiple_of  # both go by the width of a row
    if arguments.packing or "padding_free" in trl or changed or batch == 1 or dims is None:
        return Joining(False, "")
    if arguments.deepspeed or arguments.fsdp:  # the weights are not whole before training
        return Joining(False, "")
    flash = str(getattr(model.config, "_attn_implementation", "")).startswith("flash")
    share = arithmetic(rows.lengths().tolist(), batch, dims, flash=flash)
    if share > WORTH:
        return Joining(False, "")
    if not flash and (fault := _mixes(model, rows.ids)):
        return Joining(
            False, f"rows are padded, though joined ones need {share:.0%} of the arithmetic: {fault}"
        )
    return Joining(
        True,
        f"the {batch} samples of a batch share one row without padding, kept apart by the attention: {share:.0%} of the "
        "arithmetic of padded rows (trl.padding_free: false pads them)",
    )


def arithmetic(lengths: Sequence[int], batch: int, dims: Dims, *, flash: bool = False) -> float:
    """Operations of joined rows over those of padded ones, over random batches.

    Args:
        lengths: R lengths in tokens.
        flash: the kernel computes no attention across samples; others mask it out.
    """
    linear = 2 * (dims.layers * sum(a * b for a, b in dims.linear) + dims.vocabulary * dims.hidden)
    pair = 4 * dims.query * dims.layers
    # As the trainer's sampler mixes them; a generator of its own, so that no random number of the training is used up.
    mixed = list(lengths)
    random.Random(0).shuffle(mixed)
    joined = padded = 0
    for start in range(0, len(mixed), batch):
        group = mixed[start : start + batch]
        total, width = sum(group), max(group)
        pairs = sum(length**2 for length in group) if flash else total**2
        joined += total * linear + pairs * pair
        padded += len(group) * (width * linear + width**2 * pair)
    return joined / padded


def _mixes(model: Any, rows: Sequence[Sequence[int]]) -> str | None:
    """Why samples cannot share a row: the second of two reads the first. None where they can.

    The second sample's logits are compared with those it has alone, and with those of a row that is one long sample.
    """
    import torch

    first, second = (list(rows[index % len(rows)][:_PROBED]) for index in (0, 1))
    boundary, device = len(first), next(model.parameters()).device

    def logits(ids: list[int], starts: Sequence[int]) -> torch.Tensor:
        positions = [index - max(start for start in starts if start <= index) for index in range(len(ids))]
        edges = torch.tensor([*starts, len(ids)], dtype=torch.int32, device=device)
        longest = int(edges.diff().max())
        out = model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([positions], device=device),
            cu_seq_lens_q=edges,
            cu_seq_lens_k=edges,
            max_length_q=longest,
            max_length_k=longest,
            use_cache=False,
        ).logits
        last: torch.Tensor = out[0, -len(second) :].float()
        return last

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = logits(second, [0])
            apart = (logits(first + second, [0, boundary]) - alone).abs().max()
            mixed = (logits(first + second, [0]) - alone).abs().max()
    except Exception as error:  # any model may be given; it trains padded, as ever
        return f"this model cannot read them ({type(error).__name__}: {str(error).splitlines()[0]:.80})"
    finally:
        model.train(training)
    noise = 1e-5 * alone.abs().max()
    return (
        None
        if apart <= max(_SHARED * mixed, noise)
        else "this model's attention reads across samples of a row"
    )
