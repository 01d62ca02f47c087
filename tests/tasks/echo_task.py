"""A single-turn task for tests: repeat a letter three times."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from tenyson.tasks import Metric, Reward, Rollout, Sample, TaskPlugin

LETTERS = "abcdefghijklmnop"


class EchoTask(TaskPlugin):
    """ "a" is to be answered with "aaa"."""

    name = "echo"

    def __init__(self, samples: int = 64, break_at: int | None = None) -> None:
        super().__init__(samples=samples, break_at=break_at)
        self._samples = samples
        self._break_at = break_at

    def _all(self, split: str, seed: int) -> Iterator[Sample]:
        draw = random.Random(f"{split}/{seed}")
        for index in range(self._samples):
            if index == self._break_at:
                raise RuntimeError("the task breaks here")
            letter = draw.choice(LETTERS)
            yield Sample(
                id=f"{split}/{index}",
                prompt=[{"role": "user", "content": letter}],
                completion=[{"role": "assistant", "content": letter * 3}],
                data={"answer": letter * 3},
            )

    sft_samples = rl_samples = eval_samples = _all

    def rewards(self) -> Sequence[Reward]:
        return [
            Reward("right", lambda rollout: float(rollout.text == rollout.sample.data["answer"])),
            Reward(
                "letters",
                lambda rollout: rollout.text.count(rollout.sample.data["answer"][0]) / 8,
                weight=0.5,
            ),
            Reward("silent", lambda rollout: None if rollout.text else 1.0, weight=0.0),
        ]

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        right = sum(rollout.text == rollout.sample.data["answer"] for rollout in rollouts)
        return {"accuracy": Metric.proportion(right, len(rollouts))}
