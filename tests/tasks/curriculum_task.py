"""A task with a memory for tests: the more it has rewarded, the more letters it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tenyson.tasks import Reward, Rollout, Sample, TaskPlugin

PER_LEVEL = 40


class CurriculumTask(TaskPlugin):
    """A reward for each letter up to a level, which rises with the rollouts that were scored."""

    name = "curriculum"

    def __init__(self) -> None:
        super().__init__()
        self._scored = 0

    def rl_samples(self, split: str, seed: int) -> Iterator[Sample]:
        for index in range(64):
            yield Sample(id=str(index), prompt=[{"role": "user", "content": "abcdefgh"[index % 8]}])

    def current_sample(self, sample: Sample) -> Sample:
        """Another letter at another level, so that a resumed run shows whether it has the level."""
        level = self._scored // PER_LEVEL
        letter = "abcdefgh"[(int(sample.id) + level) % 8]
        return Sample(id=f"{sample.id}/level-{level}", prompt=[{"role": "user", "content": letter}])

    def rewards(self) -> Sequence[Reward]:
        return [Reward("letters", self._score)]

    def state(self) -> Mapping[str, Any]:
        return {"scored": self._scored}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._scored = state["scored"]

    def _score(self, rollout: Rollout) -> float:
        self._scored += 1
        return min(len(rollout.text), 1 + self._scored // PER_LEVEL) / 6
