"""Whole groups: a reward that compares the rollouts of a prompt needs all of them in one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenyson.errors import ConfigError
from tenyson.tasks.reward import Reward


def require_whole_groups(rewards: Sequence[Reward], arguments: Any, *, evaluates: bool) -> None:
    """Refuse to spread the rollouts of a prompt over processes where a reward compares them.

    Args:
        arguments: TRL's.
        evaluates: whether training evaluates on the way.

    Raises: ConfigError.
    """
    together = [reward.name for reward in rewards if reward.group]
    if not together or arguments.world_size == 1:
        return
    here, group = (
        arguments.per_device_train_batch_size * arguments.steps_per_generation,
        arguments.num_generations,
    )
    if here % group:
        raise ConfigError(
            f"the reward {together[0]} compares the {group} rollouts of a prompt, and each process makes {here} of a batch: no whole "
            "groups",
            next_step="Make training.batch_size x training.gradient_accumulation_steps a multiple of training.num_generations.",
        )
    size, group = arguments.per_device_eval_batch_size, arguments.num_generations_eval or group
    if evaluates and size % group:
        raise ConfigError(
            f"the reward {together[0]} compares the {group} rollouts of a prompt, and each process evaluates {size} at a time: no "
            "whole groups",
            next_step="Make trl.per_device_eval_batch_size a multiple of trl.num_generations_eval.",
        )
