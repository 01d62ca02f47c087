"""Extension: more optimizer steps for a training that runs, and for those that resume from its checkpoints.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

import sys
from typing import Any


class ExtensionMixin:
    """Makes a transformers Trainer end at a number of steps that may still change."""

    extended_steps = 0
    """Steps beyond what the configuration asked for."""

    # What the Trainer offers.
    args: Any
    state: Any
    lr_scheduler: Any

    def extend(self, steps: int) -> None:
        """Add steps; the learning rate follows the schedule over the new total from here on.

        A schedule that is no function of the step alone (such as reduce_lr_on_plateau) stays as it is.
        """
        self.extended_steps += steps
        self.state.max_steps += steps
        _stretch(self.lr_scheduler, self.args, self.state.max_steps)

    def set_initial_training_values(self, args: Any, dataloader: Any) -> tuple[Any, ...]:
        """The Trainer's own values, with the steps that were added, and with no end of epochs: steps end the training."""
        values = super().set_initial_training_values(args, dataloader)  # type: ignore[misc]
        _, *between, max_steps = values
        return sys.maxsize, *between, max_steps + self.extended_steps


def _stretch(scheduler: Any, args: Any, total_steps: int) -> None:
    import torch
    from transformers import get_scheduler

    if not isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):
        return
    # Only for its function of the step: a scheduler sets its optimizer's rate when it is made.
    unused = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    longer = get_scheduler(
        args.lr_scheduler_type,
        optimizer=unused,
        num_warmup_steps=args.get_warmup_steps(total_steps),
        num_training_steps=total_steps,
        scheduler_specific_kwargs=args.lr_scheduler_kwargs,
    )
    scheduler.lr_lambdas = longer.lr_lambdas * len(scheduler.lr_lambdas)
    rates = [
        base * schedule(scheduler.last_epoch)
        for base, schedule in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    ]
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = rates
