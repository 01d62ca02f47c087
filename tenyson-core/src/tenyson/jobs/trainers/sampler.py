"""The sampler of GRPO's prompts: TRL's own order, in every epoch and after every resume."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):  # type: ignore[misc]
    """RepeatSampler that knows its epoch.

    TRL's draws each epoch's order from one generator in turn, so that a fresh process begins with the first epoch's order
    whichever epoch it resumes in. This one draws as often as the epoch says.
    """

    epoch = 0

    def __iter__(self) -> Iterator[int]:
        """The indices of `self.epoch`."""
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(self.epoch):
                torch.randperm(self.num_samples, generator=self.generator)
        return super().__iter__()  # type: ignore[no-any-return]
