"""A multi-turn task for tests: say the next letter, three times; the environment says the letter before it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tenyson.tasks import Environment, Metric, Observation, Reward, Rollout, Sample, TaskPlugin

LETTERS = "abcdefgh"


class Climb(Environment):
    """Three turns: "a" wants "b", then the environment says "b" and wants "c", and so on."""

    def __init__(self, start: str) -> None:
        self._position = LETTERS.index(start)
        self._turn = 0
        self._right = 0

    def step(self, reply: str) -> Observation:
        self._position += 1
        self._turn += 1
        self._right += reply == LETTERS[self._position]
        return Observation(LETTERS[self._position], done=self._turn == 3)

    def info(self) -> Mapping[str, Any]:
        return {"right": self._right, "turns": self._turn}


class ClimbTask(TaskPlugin):
    """Climb the alphabet."""

    name = "climb"

    def _all(self, split: str, seed: int) -> Iterator[Sample]:
        draw = random.Random(f"{split}/{seed}")
        for index in range(64):
            first = draw.randrange(5)
            letters = LETTERS[first : first + 4]
            completion = [{"role": "assistant", "content": letters[1]}]
            for letter in letters[2:]:
                completion += [
                    {"role": "user", "content": LETTERS[LETTERS.index(letter) - 1]},
                    {"role": "assistant", "content": letter},
                ]
            yield Sample(
                id=f"{split}/{index}",
                prompt=[{"role": "user", "content": letters[0]}],
                completion=completion,
                data={"start": letters[0]},
            )

    sft_samples = rl_samples = eval_samples = _all

    def environment(self, sample: Sample) -> Environment:
        return Climb(sample.data["start"])

    def rewards(self) -> Sequence[Reward]:
        return [Reward("right", lambda rollout: rollout.info["right"] / 3)]

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        return {"right": Metric.mean([rollout.info["right"] / 3 for rollout in rollouts])}
