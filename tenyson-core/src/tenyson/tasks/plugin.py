"""TaskPlugin: the one class that a task's author subclasses. It serves SFT, RL and evaluation alike."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from tenyson.core.constructor import constructor_arguments
from tenyson.core.finding import Finding
from tenyson.errors import TaskError
from tenyson.tasks.agent import Endpoint
from tenyson.tasks.environment import Environment
from tenyson.tasks.metrics.metric import Metric
from tenyson.tasks.preference import PreferenceSample
from tenyson.tasks.preset import Preset
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Sample
from tenyson.tasks.tools.tool import Tool


class TaskPlugin(ABC):
    """A task: its samples by split, its rewards, its metrics. Needs no torch.

    Keyword arguments given to the constructor are the configuration's `task.args`; they must be JSON-safe,
    since a remote machine builds the same task from them.
    """

    name: ClassVar[str] = ""
    """What users type; for an installed task the name of its entry."""
    summary: ClassVar[str] = ""
    """One line for listings."""
    headline: ClassVar[tuple[str, ...]] = ()
    """Names of the metrics that summaries show, most telling first; empty: the first few there are."""
    settings: ClassVar[type[Any] | None] = None
    """Optional pydantic model of the constructor's arguments; `config check` then knows them."""

    report_helpers: ClassVar[Sequence[str]] = ()
    """Names of report helpers whose sections a pipeline's report shows for this task, beside those of core."""

    arguments: dict[str, Any]
    """What the same task is built from again, in another process or on another machine."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        task = super().__new__(cls)
        # Recorded here as well, since a constructor may not call `super().__init__`; past a frozen dataclass's __setattr__.
        task.__dict__["arguments"] = constructor_arguments(cls, args, kwargs)
        return task

    def __init__(self, **arguments: Any) -> None:
        self.arguments = {**self.arguments, **arguments}

    def sft_samples(self, split: str, seed: int) -> Iterable[Sample]:
        """Samples with a `completion` to imitate. `split` is "train" or "eval"."""
        raise TaskError(
            f"the task {self._name} has no samples for SFT", next_step="Implement sft_samples(split, seed)."
        )

    def rl_samples(self, split: str, seed: int) -> Iterable[Sample]:
        """Prompts to explore. `split` is "train" or "eval"."""
        raise TaskError(
            f"the task {self._name} has no samples for RL", next_step="Implement rl_samples(split, seed)."
        )

    def preference_samples(self, split: str, seed: int) -> Iterable[PreferenceSample]:
        """Prompts with a `chosen` and a `rejected` answer, for DPO. `split` is "train" or "eval"."""
        raise TaskError(
            f"the task {self._name} has no preference samples",
            next_step="Implement preference_samples(split, seed).",
        )

    def eval_samples(self, split: str, seed: int) -> Iterable[Sample]:
        """Prompts to measure on. `split` is whatever `evaluation.split` of the configuration says."""
        raise TaskError(
            f"the task {self._name} has no samples for evaluation",
            next_step="Implement eval_samples(split, seed).",
        )

    def keep_sample(self, sample: Sample, tokenizer: Any) -> bool:
        """Whether a job takes a sample. `tokenizer` is the model's, so that a task may leave out what is too long for it."""
        return True

    def current_sample(self, sample: Sample) -> Sample:
        """The sample as RL plays it now: asked once for each prompt of a training batch, before it is played.

        Samples are read before training; a curriculum returns one of its present level here. The id of what it returns is
        recorded. Where several processes train together, they follow the `state` of the first.
        """
        return sample

    def environment(self, sample: Sample) -> Environment | None:
        """A fresh environment for one rollout on `sample`; None for a single-turn task."""
        return None

    def tools(self, sample: Sample) -> Sequence[Callable[..., Any] | Tool]:
        """What the model may call in one rollout on `sample`: plain functions, or `Tool`. Asked afresh for each rollout.

        A reply that calls tools is answered with their results, and the model continues; a reply that calls none ends the
        rollout, or goes to the environment where there is one.
        """
        return ()

    def agent(self, sample: Sample, endpoint: Endpoint) -> Any:
        """Play one rollout on `sample` by asking the model at `endpoint`, in place of an environment and tools.

        Override it as an `async def` or a plain function, which has a thread of its own, or return an `AgentCommand`. Every
        reply that the model gives is recorded, token by token, and trained on, unless its request has `metadata={"train": "false"}`.
        What is returned (JSON), or printed by the command, is `rollout.info["result"]` to rewards. Where the task's arguments decide
        whether an agent plays, set `self.agent` in the constructor instead.
        """
        raise TaskError(f"the task {self._name} has no agent", next_step="Implement agent(sample, endpoint).")

    def rewards(self) -> Sequence[Reward]:
        """The reward's named components."""
        return ()

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        """What is reported over finished rollouts. The default is the mean of each reward.

        Where samples are played several times it is also asked for each sample's rollouts: intervals are over samples.
        """
        means = {}
        for reward in self.rewards():
            values = [value for value in map(reward, rollouts) if value is not None]
            means[reward.name] = Metric.mean(values)
        return means

    def state(self) -> Mapping[str, Any]:
        """What the task remembers from one rollout to the next, such as a curriculum's level: JSON-safe, kept in checkpoints."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027  a task without a memory needs none
        """Continue from a value that `state` returned."""

    def provenance(self) -> Mapping[str, str]:
        """Names and hashes of the data behind the task; stored with every result."""
        return {}

    def samples_key(self, split: str, seed: int) -> str | None:
        """What the samples of a split follow from, such as a hash of their file and settings: equal keys mean equal samples.

        None: unknown. With a key SFT takes rows that an earlier start has rendered without reading the samples again.
        """
        return None

    def findings(self) -> Iterable[Finding]:
        """What is odd about the samples that the hooks above have yielded so far: preflight reports it before the first step."""
        return ()

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """Named default pipelines; the first one is what `tenyson run --task NAME` runs."""
        return {}

    @property
    def _name(self) -> str:
        return self.name or type(self).__name__
