"""The reference model where `trl.sync_ref_model` moves it: a checkpoint holds its weights as well.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

from typing import Any

import torch

from tenyson.errors import ModelError
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
        """Put that back.

        Raises:
            ModelError: the checkpoint holds no reference, as those of RL by earlier releases.
        """
        super().restore_own_state(state, tensors)
        if not self.args.sync_ref_model:
            return
        if not any(name.startswith(_PREFIX) for name in tensors):
            raise ModelError(
                "the checkpoint does not hold the reference that trl.sync_ref_model moved, so the resume would not be exact",
                next_step="An earlier release wrote it. Train again, or start a new run with model.name set to its weights.",
            )
        reference = self.accelerator.unwrap_model(self.ref_model)
        for name, one in reference.named_parameters():
            one.data.copy_(tensors[f"{_PREFIX}{name}"])
