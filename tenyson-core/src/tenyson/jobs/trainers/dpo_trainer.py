"""TRL's DPOTrainer with Tenyson's checkpoints, on pairs that are tokenised already.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

from typing import Any

import torch
from trl import DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from tenyson.jobs.checkpoints.reference import MovingReferenceMixin


class PreferenceCollator(DataCollatorForPreference):  # type: ignore[misc]
    """TRL's collator, which learns a whole answer; here user messages within an answer carry no loss."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch of B pairs: B rows of prompt and chosen answer, then B of prompt and rejected answer."""
        batch: dict[str, torch.Tensor] = super().torch_call(examples)
        masks = [example[f"{answer}_mask"] for answer in ("chosen", "rejected") for example in examples]
        for row, (example, mask) in enumerate(zip(examples * 2, masks, strict=True)):
            begin = len(example["prompt_ids"])
            batch["completion_mask"][row, begin : begin + len(mask)] = torch.tensor(mask)
        return batch


class CheckpointedDPOTrainer(MovingReferenceMixin, DPOTrainer):  # type: ignore[misc]
    """DPOTrainer that publishes checkpoints as step-N and resumes from them exactly."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        """Nothing: pairs arrive as token ids, cut to `training.max_length`."""
        return dataset

    def last_rewards(self) -> dict[str, float]:
        """The last `rewards/*` of training and `eval_rewards/*` of its evaluation, as TRL names them."""
        return {
            name: value
            for entry in self.state.log_history
            for name, value in entry.items()
            if name.removeprefix("eval_").startswith("rewards/")
        }
