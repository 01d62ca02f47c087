"""What TRL's GRPOTrainer is given of a task: prompts to draw from, and reward functions that say what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset

from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Sample


def dataset_of(samples: Sequence[Sample]) -> Dataset:
    """What GRPOTrainer draws from: the prompt, and which sample it belongs to."""
    return Dataset.from_list(
        [{"prompt": list(sample.prompt), "sample_index": index} for index, sample in enumerate(samples)]
    )


def reward_function(reward: Reward) -> Callable[..., list[float | None]]:
    """What a reward has said of rollouts that were scored."""

    def function(rollout: list[Rollout], **_: Any) -> list[float | None]:
        # TRL warns of rows of which no reward says anything.
        return [0.0 if one.error else one.rewards[reward.name] for one in rollout]

    # TRL names its metrics after the function.
    function.__name__ = reward.name
    return function
