"""Say a letter three times; the metrics fail until somebody makes the file `repaired`."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tenyson.tasks import Metric, Reward, Rollout, Sample, TaskPlugin


class ThreeTimes(TaskPlugin):
    name = "three-times"

    def samples(self, split: str, seed: int) -> Iterator[Sample]:
        draw = random.Random(f"{split} {seed}")
        for number in range(16):
            letter = draw.choice("abcdefgh")
            yield Sample(
                id=f"{split}-{number}",
                prompt=[{"role": "user", "content": letter}],
                completion=[{"role": "assistant", "content": letter * 3}],
                data={"answer": letter * 3},
            )

    sft_samples = rl_samples = eval_samples = samples

    def rewards(self) -> Sequence[Reward]:
        return [Reward("right", lambda rollout: float(rollout.text == rollout.sample.data["answer"]))]

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        if not Path("repaired").exists():
            raise RuntimeError("the metrics are broken until the file `repaired` is there")
        right = sum(rollout.text == rollout.sample.data["answer"] for rollout in rollouts)
        return {"accuracy": Metric.proportion(right, len(rollouts))}
