"""A single-turn task for tests: an answer begins with a token that the tiny model does not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenyson.tasks import Reward, Sample, TaskPlugin

LETTERS = "abcdefghijklmnop"


class MarkedTask(TaskPlugin):
    """ "a" is to be answered with "<go>a"."""

    name = "marked"

    def _all(self, split: str, seed: int) -> Iterator[Sample]:
        for index in range(64):
            letter = LETTERS[(index + seed) % len(LETTERS)]
            yield Sample(
                id=f"{split}/{index}",
                prompt=[{"role": "user", "content": letter}],
                completion=[{"role": "assistant", "content": f"<go>{letter}"}],
                data={"answer": f"<go>{letter}"},
            )

    sft_samples = rl_samples = eval_samples = _all

    def rewards(self) -> Sequence[Reward]:
        return [
            Reward("marked", lambda rollout: float(rollout.text.startswith("<go>"))),
            Reward("letters", lambda rollout: rollout.text.count("a") / 8),
        ]
