"""A whole task: the model is to write three letters backwards."""

import random
from collections.abc import Iterator, Mapping, Sequence

from tenyson.tasks import Metric, Reward, Rollout, Sample, TaskPlugin


def is_right(rollout: Rollout) -> bool:
    return rollout.text == rollout.sample.data["answer"]


def letters_in_place(rollout: Rollout) -> float:
    answer = rollout.sample.data["answer"]
    return sum(a == b for a, b in zip(rollout.text, answer, strict=False)) / len(answer)


class ReverseTask(TaskPlugin):
    name = "reverse"

    def samples(self, split: str, seed: int) -> Iterator[Sample]:
        draw = random.Random(f"{split} {seed}")
        for number in range(2000 if split == "train" else 200):
            word = "".join(draw.choices("abcdefgh", k=3))
            yield Sample(
                id=f"{split}-{number}",
                prompt=[{"role": "user", "content": word}],
                completion=[{"role": "assistant", "content": word[::-1]}],
                data={"answer": word[::-1]},
            )

    sft_samples = rl_samples = eval_samples = samples

    def rewards(self) -> Sequence[Reward]:
        return [Reward("right", lambda rollout: float(is_right(rollout))), Reward("letters", letters_in_place, weight=0.2)]

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        return {"accuracy": Metric.proportion(sum(map(is_right, rollouts)), len(rollouts))}
