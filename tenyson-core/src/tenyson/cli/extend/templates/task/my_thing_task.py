"""The task my-thing: sort three letters. It runs as it is; put your own samples, rewards and metrics in its place.

tenyson run --task ./my_thing_task.py
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence

from tenyson.tasks import Metric, Preset, PresetStep, Reward, Rollout, Sample, TaskPlugin

WORDS = ["".join(letters) for letters in itertools.permutations("abcdefgh", 3)]

TINY = {
    "model": {"factory": "tenyson.testing.tiny:build", "factory_args": {"width": 64}},
    "training": {"max_steps": 60, "batch_size": 64, "learning_rate": 5e-3, "warmup_steps": 20},
    "generation": {"engine": "transformers", "max_new_tokens": 4},
}
"""A model of 40,000 parameters that is made on the spot. For another one: {"model": {"name": "Qwen/Qwen3-0.6B"}}."""


def is_right(rollout: Rollout) -> float:
    """1 for the whole answer, 0 for anything else."""
    return float(rollout.text == rollout.sample.data["answer"])


def letters_in_place(rollout: Rollout) -> float:
    """The share of letters in their place: a reward that also tells wrong answers apart."""
    answer: str = rollout.sample.data["answer"]
    return sum(a == b for a, b in zip(rollout.text, answer, strict=False)) / len(answer)


class MyThingTask(TaskPlugin):
    """Sort three letters."""

    name = "my-thing"
    summary = "Sort three letters"
    headline = ("accuracy",)

    def samples(self, split: str, seed: int) -> Iterator[Sample]:
        """Every fifth word is for evaluation, and never trained on. An id is the same in every run."""
        words = [word for number, word in enumerate(WORDS) if (number % 5 == 0) == (split != "train")]
        random.Random(seed).shuffle(words)
        for word in words:
            answer = "".join(sorted(word))
            yield Sample(
                id=word,
                prompt=[{"role": "user", "content": word}],
                completion=[{"role": "assistant", "content": answer}],
                data={"answer": answer},
            )

    sft_samples = rl_samples = eval_samples = samples

    def rewards(self) -> Sequence[Reward]:
        """Their weighted sum is what RL maximizes; each is recorded for every rollout."""
        return [Reward("right", is_right), Reward("letters", letters_in_place, weight=0.2)]

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        """What evaluations report."""
        return {"accuracy": Metric.proportion(int(sum(map(is_right, rollouts))), len(rollouts))}

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """Pipelines by name. The first is what `tenyson run --task` runs."""
        steps = (
            PresetStep("before", "eval", TINY),
            PresetStep("sft", "sft", TINY),
            PresetStep("rl", "rl", TINY, model_from="sft"),
            PresetStep("after", "eval", TINY, model_from="rl"),
        )
        return {"tiny": Preset("tiny", "SFT and RL of a tiny model", steps, hardware="any CPU, 2 minutes")}
