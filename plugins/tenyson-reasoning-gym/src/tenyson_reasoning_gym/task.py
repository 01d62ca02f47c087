"""ReasoningGymTask: the data sets of reasoning-gym as Tenyson's jobs see them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from tenyson.errors import ConfigError, TaskError
from tenyson.plugins.settings import settings_problems
from tenyson.tasks import Message, Metric, Preset, Reward, Rollout, Sample, TaskPlugin
from tenyson_reasoning_gym import metrics
from tenyson_reasoning_gym.answers import tagged, written
from tenyson_reasoning_gym.levels import Levels, level_arguments
from tenyson_reasoning_gym.settings import ReasoningGymSettings
from tenyson_reasoning_gym.sources import Entry, Source, Split, mixed, shares
from tenyson_reasoning_gym.worker.client import worker

PRESETS = ("tiny", "qwen2.5-0.5b")


class ReasoningGymTask(TaskPlugin):
    """Questions of one data set of reasoning-gym, or of a mixture, in one turn; scored by the data set.

    Keyword arguments are those of `ReasoningGymSettings`. Splits: "train" and "eval".

    Raises:
        ConfigError: an argument is unknown or wrong.
        TaskError: the curriculum does not fit a data set.
    """

    name = "reasoning-gym"
    summary = "Any data set of reasoning-gym, mixtures of them, and curricula by level"
    headline = ("accuracy", "solved", "format")
    settings: ClassVar[type[Any] | None] = ReasoningGymSettings

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if found := settings_problems(ReasoningGymSettings, arguments, ("task", "args")):
            raise ConfigError(found)
        self.options = options = ReasoningGymSettings(**arguments)
        weights = {name: part.weight for name, part in options.parts.items()}
        self._order: dict[Split, list[str]] = {
            "train": shares(weights, options.train_size),
            "eval": shares(weights, options.eval_size),
        }
        rules = options.curriculum
        self.sources = {
            name: Source(
                name=name,
                levels={None: part.args} if rules is None else level_arguments(name, part, rules),
                sizes={split: order.count(name) for split, order in self._order.items()},
                seed=options.seed,
                entry_seconds=options.entry_seconds,
            )
            for name, part in options.parts.items()
        }
        self._levels = None
        if rules is not None:
            highest = {
                name: max(filter(None, source.levels), default=0) for name, source in self.sources.items()
            }
            self._levels = Levels(rules, highest)

    def sft_samples(self, split: str, seed: int) -> Iterable[Sample]:  # noqa: ARG002
        """The questions with the answers that the generators give.

        Raises: TaskError: none of the data sets gives answers.
        """
        answered = False
        for entry in self._entries(split):
            if entry.answer is not None:
                answered = True
                yield self._sample(entry, split)
        if not answered:
            raise TaskError(
                f"{', '.join(self.sources)}: the generator gives no answers, so there is nothing to imitate",
                next_step="Train with RL, or take another data set.",
            )

    def rl_samples(self, split: str, seed: int) -> Iterable[Sample]:  # noqa: ARG002
        """The questions; the same ones in the same order for any seed of the run."""
        return (self._sample(entry, split) for entry in self._entries(split))

    eval_samples = rl_samples

    def current_sample(self, sample: Sample) -> Sample:
        """The question of the present level in place of the sample's."""
        if self._levels is None or sample.data["split"] != "train":
            return sample
        source = self.sources[sample.data["dataset"]]
        level = self._levels.present(source.name)
        if level == sample.data["level"]:
            return sample
        return self._sample(source.at_level(level, sample.data["index"]), "train")

    def rewards(self) -> Sequence[Reward]:
        """`accuracy`, the data set's own score; `format`, whether the tags are complete; `level`, which is only recorded."""
        found = [Reward("accuracy", self._accuracy)]
        if self.options.answer == "tags":
            found.append(Reward("format", _has_tags, self.options.format_weight))
        if self._levels is not None:
            found.append(Reward("level", lambda rollout: float(rollout.sample.data["level"]), 0.0))
        return found

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        """See the module `metrics`; also the share of rollouts with complete tags."""
        accuracy = Reward("accuracy", self._accuracy)
        scores = [float(accuracy(rollout) or 0.0) for rollout in rollouts]
        found = metrics.by_group(
            rollouts, scores, mixture=len(self.sources) > 1, levels=self._levels is not None
        )
        if self.options.answer == "tags":
            tags = [_has_tags(rollout) for rollout in rollouts]
            found["format"] = Metric.proportion(int(sum(tags)), len(tags))
        return found

    def state(self) -> Mapping[str, Any]:
        """The level of each data set of a curriculum, with the rollouts that were counted there."""
        return {} if self._levels is None else self._levels.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue at the levels of `state`."""
        if self._levels is not None:
            self._levels.restore(state)

    def provenance(self) -> Mapping[str, str]:
        """Version of reasoning-gym, the data sets, and a hash of everything that decides their entries."""
        configs = {
            name: [source.config(level) for level in source.levels] for name, source in self.sources.items()
        }
        text = json.dumps([configs, self._order], sort_keys=True)
        return {
            "reasoning-gym": str(worker().names()["version"]),
            "datasets": ", ".join(self.sources),
            "config_sha256": sha256(text.encode()).hexdigest(),
        }

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """`tiny` first."""
        with resources.as_file(resources.files("tenyson_reasoning_gym") / "presets") as folder:
            return {name: Preset.from_file(Path(folder) / f"{name}.yaml") for name in PRESETS}

    def _entries(self, split: str) -> Iterator[Entry]:
        if split not in ("train", "eval"):
            raise TaskError(
                f"the task reasoning-gym has no split {split!r}",
                place="evaluation.split",
                next_step='Take "train" or "eval".',
            )
        if not self.sources:
            raise TaskError(
                "the task reasoning-gym has no data set",
                place="task.args",
                next_step="Set task.args.dataset, such as chain_sum, or task.args.datasets.",
            )
        found = False
        part: Split = "train" if split == "train" else "eval"
        for entry in mixed(self.sources, self._order[part], part):
            found = True
            yield entry
        if not found:
            raise TaskError(
                f"{', '.join(self.sources)}: all questions of the train split are in the eval split too",
                place="task.args",
                next_step="Give arguments that allow more questions, or set eval_size lower.",
            )

    def _sample(self, entry: Entry, split: str) -> Sample:
        completion: list[Message] = []
        if entry.answer is not None:
            completion = [{"role": "assistant", "content": written(entry.answer, self.options.answer)}]
        return Sample(
            id=entry.id,
            prompt=[*self._instruction(), {"role": "user", "content": entry.question}],
            completion=completion,
            data={
                "dataset": entry.source,
                "split": split,
                "level": entry.level,
                "index": entry.index,
                "digest": entry.digest,
                "answer": entry.answer,
            },
        )

    def _instruction(self) -> list[Message]:
        text = self.options.system_prompt
        if text is None:
            text = "default" if self.options.answer == "tags" else ""
        text = worker().names()["system_prompts"].get(text, text)
        return [{"role": "system", "content": text}] if text else []

    def _accuracy(self, rollout: Rollout) -> float:
        """The data set's score of the rollout's answer; one that cannot be scored is worth 0."""
        data = rollout.sample.data
        source = self.sources[data["dataset"]]
        answer = tagged(rollout.text) if self.options.answer == "tags" else rollout.text.strip()
        score = 0.0
        if answer:
            score = worker().score(
                source.name,
                source.config(data["level"]),
                data["index"],
                data["digest"],
                answer,
                self.options.score_seconds,
            )
        if self._levels is not None and data["split"] == "train":
            self._levels.observe(source.name, data["level"], score >= 1)
        return score


def _has_tags(rollout: Rollout) -> float:
    return float(tagged(rollout.text) is not None)
