"""The task, for SFT, RL and evaluation."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tenyson.tasks import Metric, Preset, Reward, Rollout, Sample, TaskPlugin

from my_thing import samples
from my_thing.rewards import is_right, letters_in_place


class MyThingTask(TaskPlugin):
    """Sort three letters."""

    name = "my-thing"
    summary = "Sort three letters"
    headline = ("accuracy",)

    def sft_samples(self, split: str, seed: int) -> Iterator[Sample]:
        """Prompts with a completion to imitate."""
        return samples.samples(split, seed)

    def rl_samples(self, split: str, seed: int) -> Iterator[Sample]:
        """Prompts to explore."""
        return samples.samples(split, seed)

    def eval_samples(self, split: str, seed: int) -> Iterator[Sample]:
        """Prompts to measure on."""
        return samples.samples(split, seed)

    def rewards(self) -> Sequence[Reward]:
        """Their weighted sum is what RL maximizes; each is recorded for every rollout."""
        return [Reward("right", is_right), Reward("letters", letters_in_place, weight=0.2)]

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        """What evaluations report."""
        return {"accuracy": Metric.proportion(int(sum(map(is_right, rollouts))), len(rollouts))}

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """Pipelines by name. The first is what `tenyson run --task` runs."""
        return {"tiny": Preset.from_file(Path(__file__).with_name("tiny.yaml"))}
