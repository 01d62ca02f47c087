"""A task for tests whose samples differ much in length: repeat a letter, most times briefly."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tenyson.tasks import Sample, TaskPlugin


class UnevenTask(TaskPlugin):
    """One in eight samples is forty times as long as the others."""

    name = "uneven"

    def sft_samples(self, split: str, seed: int) -> Iterator[Sample]:
        draw = random.Random(f"{split}/{seed}")
        for index in range(64):
            letter = draw.choice("abcdefgh")
            yield Sample(
                id=f"{split}/{index}",
                prompt=[{"role": "user", "content": letter}],
                completion=[{"role": "assistant", "content": letter * (80 if index % 8 == 0 else 2)}],
            )
