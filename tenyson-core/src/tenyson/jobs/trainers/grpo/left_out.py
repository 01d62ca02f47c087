"""Left-out rows: they count neither in what the loss sums nor in what it divides by.

Imports torch: import this module only inside a job.

Shape legend: R rows of a generation on this process; b rows of one micro-batch of it.
"""

from __future__ import annotations

from typing import Any

import torch

from tenyson.jobs.trainers.grpo.further_rows import ROW_MEANS

WEIGHTS = "row_weights"
"""Key of a batch: R weights, 0 for rows that are left out, with the mean 1 over all processes. Without such rows there is no key."""


class LeftOutMixin:
    """For a GRPOTrainer, before all that look at what the loss reads. It changes nothing where no row is left out.

    A generation is shuffled into micro-batches, and each is left with another number of rows. TRL's loss is computed on those
    rows alone, and a micro-batch counts by how many they are: together the micro-batches are what TRL makes of a generation that
    has no other rows. Each loss type, the KL term and the entropy bonus are the same in this.

    Several processes must hold equally many rows, since TRL gathers metrics of rows: there, left-out rows stay and are masked.
    The entropy bonus is then weighed as the rows are.
    """

    def leave_out(self, output: dict[str, Any]) -> None:
        """Take the groups that `find_broken` found out of what the loss reads: no token of theirs counts."""
        trainer: Any = self
        if not trainer.leaves_out:
            return
        flags = trainer.with_further(torch.tensor([not one for one in trainer.is_left_out()]))
        kept = flags.to(output["completion_mask"].device)
        counted = output["completion_mask"] = output["completion_mask"] * kept.unsqueeze(1)
        if "tool_mask" in output:
            output["tool_mask"] = output["tool_mask"] * kept.unsqueeze(1)
            counted = counted * output["tool_mask"]
        output["num_items_in_batch"] = trainer.accelerator.gather(counted.sum()).sum()
        share = trainer.accelerator.gather(kept.float().mean()).mean()
        output[WEIGHTS] = kept / share

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        trainer: Any = self
        whole = super()._compute_loss  # type: ignore[misc]
        if WEIGHTS not in inputs:
            return whole(model, inputs)
        rest = {name: value for name, value in inputs.items() if name != WEIGHTS}
        weights = inputs[WEIGHTS]
        weight = weights.mean()
        if trainer.accelerator.num_processes == 1:
            rest = _rows(rest, weights > 0)
        elif trainer.loss_type in ROW_MEANS:
            weight = weights.max()
        # Of these losses the number is TRL's own divisor, which is right already: the weight is for the entropy bonus.
        rest["num_items_in_batch"] = rest["num_items_in_batch"] * weight
        return whole(model, rest) * weight


def _rows(inputs: dict[str, Any], kept: torch.Tensor) -> dict[str, Any]:
    """The kept ones of b rows; where there are none the first, which is masked, since a loss must have been computed."""
    places = kept.nonzero().squeeze(1) if kept.any() else torch.zeros(1, dtype=torch.long, device=kept.device)
    return {
        name: value[places]
        if isinstance(value, torch.Tensor) and value.ndim and len(value) == len(kept)
        else value
        for name, value in inputs.items()
    }
