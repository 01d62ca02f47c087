"""The reference model where `trl.sync_ref_model` moves it: a checkpoint holds its weights as well.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

from typing import Any

import torch

from tenyson.jobs.checkpoints.trainer_mixin import CheckpointMixin

_PREFIX = "reference."


class MovingReferenceMixin(CheckpointMixin):
    """Saves and restores the reference model of a TRL trainer; does nothing where the reference stands still."""

    ref_model: Any

    def own_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """As `CheckpointMixin.own_state`, and the weights of a reference that moves."""
        state, tensors = super().own_state()
        if self.args.sync_ref_model:
            reference = self.accelerator.unwrap_model(self.ref_model)
            tensors = tensors | {
                f"{_PREFIX}{name}": one.detach() for name, one in reference.named_parameters()
            }
        return state, tensors

    def restore_own_state(self, state: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Put that back."""
        super().restore_own_state(state, tensors)
        if self.args.sync_ref_model:
            reference = self.accelerator.unwrap_model(self.ref_model)
            for name, one in reference.named_parameters():
                one.data.copy_(tensors[f"{_PREFIX}{name}"])
