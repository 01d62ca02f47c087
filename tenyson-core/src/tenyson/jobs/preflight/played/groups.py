"""Checks of RL's groups: whether they are whole, whether there are prompts enough, and whether their rewards differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tenyson.jobs.runtime.finding import Finding

if TYPE_CHECKING:
    from tenyson.config.schema import Config


def check_groups(config: Config, processes: int) -> Iterator[Finding]:
    """Whether completions come in whole groups, in training and where it evaluates on the way."""
    training, trl = config.training, config.trl
    sizes = _sizes(config)
    if sizes is None:
        yield Finding(
            "groups",
            "error",
            "batch sizes, steps and groups are not all whole numbers above 0",
            "Look at `trl` in the configuration: it takes precedence over `training`.",
        )
        return
    group, size, steps, told = sizes
    eval_group = trl.get("num_generations_eval") or group
    eval_size = trl.get("per_device_eval_batch_size", training.batch_size)
    many = _times(processes, "process", "processes")
    batch = told or size * processes * steps
    if batch % group:
        whole = math.ceil(batch / group) * group
        how = f"{size} completions x {many} x {_times(steps, 'step', 'steps')} = {batch}"
        yield Finding(
            "groups",
            "error",
            f"{f'trl.generation_batch_size = {told}' if told else how} are no whole groups of training.num_generations = {group}",
            f"Make it a multiple, such as {whole}: for example training.batch_size: {group}.",
        )
    # YAML reads a bare `no` as false.
    if trl.get("eval_strategy", "steps" if training.eval_steps else "no") in ("no", False):
        return
    # An evaluation takes no accumulation steps: each of its batches must hold whole groups.
    if (eval_size * processes) % eval_group:
        whole = math.ceil(eval_size / eval_group) * eval_group
        yield Finding(
            "groups",
            "error",
            f"while training evaluates (training.eval_steps), {eval_size} completions x {many} = {eval_size * processes} are no "
            f"whole groups of {eval_group}",
            f"Set training.batch_size: {whole}, trl.per_device_eval_batch_size: {whole}, or trl.num_generations_eval to a divisor "
            f"of {eval_size * processes}.",
        )


def _sizes(config: Config) -> tuple[int, int, int, int | None] | None:
    """Completions of a group and of a device, batches that are generated together, and `trl.generation_batch_size`.

    None where one of them, or of those of an evaluation on the way, is no whole number above 0.
    """
    training, trl = config.training, config.trl
    group = trl.get("num_generations", training.num_generations)
    size = trl.get("per_device_train_batch_size", training.batch_size)
    steps = trl.get("steps_per_generation") or trl.get(
        "gradient_accumulation_steps", training.gradient_accumulation_steps
    )
    told = trl.get("generation_batch_size")
    evaluated = trl.get("num_generations_eval") or 1, trl.get("per_device_eval_batch_size", 1)
    numbers = (group, size, steps, told or 1, *evaluated)
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        return None
    return group, size, steps, told


def _times(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def check_count(prompts: int, config: Config, processes: int) -> Iterator[Finding]:
    """Whether the prompts fill one generated batch: TRL leaves out what does not, and would train nothing."""
    sizes = _sizes(config)
    if sizes is None:
        return  # told by check_groups
    group, size, steps, told = sizes
    completions = told or size * processes * steps
    needed = completions // group
    if prompts >= needed:
        return
    yield Finding(
        "groups",
        "error",
        f"one generated batch takes {needed} different prompts ({completions} completions in groups of {group}), and the task has "
        f"{prompts}: not one step could be trained",
        f"Add prompts, or take fewer at a time: training.batch_size x training.gradient_accumulation_steps up to {prompts * group}.",
    )


def check_spread(groups: Sequence[Sequence[float]]) -> Iterator[Finding]:
    """Rewards of a few groups that the untrained policy has played: where all in a group are equal, nothing is learnt from it."""
    flat = sum(max(group) - min(group) < 1e-9 for group in groups)
    mean = sum(map(sum, groups)) / sum(map(len, groups))
    words = f"before training, rewards differ in {len(groups) - flat} of {len(groups)} groups that were tried; their mean is {mean:.3g}"
    if flat == len(groups):
        yield Finding(
            "reward_spread",
            "warning",
            words,
            "GRPO learns from differences within groups. Take easier or harder prompts, partial rewards, more num_generations, or "
            "teach the format by SFT first.",
        )
    else:
        yield Finding("reward_spread", "info", words)
