"""A task with preferences for tests: "a" is better answered with "aaa" than with another letter three times."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tenyson.tasks import Reward, Sample, TaskPlugin
from tenyson.tasks.preference import PreferenceSample

LETTERS = {"train": "abcdefghijkl", "eval": "mnop"}


class PreferTask(TaskPlugin):
    """`fault` spoils the preference samples of a test: "identical", "empty", "overlap", "none", "roles" or "sample"."""

    name = "prefer"

    def __init__(self, samples: int = 64, fault: str = "") -> None:
        super().__init__(samples=samples, fault=fault)
        self._samples = samples
        self._fault = fault

    def preference_samples(self, split: str, seed: int) -> Iterator[Sample]:
        draw = random.Random(f"{split}/{seed}")
        letters = LETTERS["train" if self._fault == "overlap" else split]
        for index in range(self._samples):
            good, bad = draw.sample(letters, 2)
            worse, first = bad * 2, index == 0
            if first and self._fault == "sample":
                yield Sample(id=f"{split}/{index}", prompt=[{"role": "user", "content": good}])
            if self._fault == "identical" or (first and self._fault == "one identical"):
                worse = good * 3
            answer = "" if first and self._fault == "empty" else good * 3
            yield PreferenceSample(
                id=f"{split}/{index}",
                prompt=[{"role": "user", "content": good}],
                chosen=[{"role": "user" if self._fault == "roles" else "assistant", "content": answer}],
                rejected=[] if self._fault == "none" else [{"role": "assistant", "content": worse}],
            )

    def sft_samples(self, split: str, seed: int) -> Iterator[Sample]:
        draw = random.Random(f"{split}/{seed}")
        for index in range(self._samples):
            letter = draw.choice(LETTERS["train"] + LETTERS["eval"])
            yield Sample(
                id=f"{split}/{index}",
                prompt=[{"role": "user", "content": letter}],
                completion=[{"role": "assistant", "content": letter * 3}],
                data={"answer": letter * 3},
            )

    eval_samples = sft_samples

    def rewards(self) -> Sequence[Reward]:
        return [Reward("right", lambda rollout: float(rollout.text == rollout.sample.data["answer"]))]
