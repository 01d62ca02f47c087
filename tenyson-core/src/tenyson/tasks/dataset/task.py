"""DatasetTask: rows of files and of the Hub as the samples of SFT, DPO, RL and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, ClassVar

import orjson

from tenyson.core.finding import Finding
from tenyson.errors import TaskError
from tenyson.tasks.dataset import hub
from tenyson.tasks.dataset.formats import FORMATS, Example
from tenyson.tasks.dataset.held_out import is_held_out
from tenyson.tasks.dataset.mixture import mixed
from tenyson.tasks.dataset.named import imported, reward_of
from tenyson.tasks.dataset.oddities import Oddities, digest
from tenyson.tasks.dataset.row import Row, RowError
from tenyson.tasks.dataset.settings import DatasetSettings
from tenyson.tasks.dataset.source import Source
from tenyson.tasks.metrics.metric import Metric
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.preference import PreferenceSample
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Message, Sample

TOLD = 10
"""Rows that an error names."""
SPLITS = ("train", "eval", "all")
_READ = frozenset(field for one in FORMATS.values() for field in one.needs) | {
    "tools",
    "system",
    "history",
    "input",
} - {"answer"}
"""Columns that are the conversation itself, and are not kept beside it."""


class DatasetTask(TaskPlugin):
    """A file, a folder or a data set of the Hub. `task.args` are those of `DatasetSettings`."""

    name: ClassVar[str] = "dataset"
    summary: ClassVar[str] = "Files (JSONL, CSV, Parquet) and data sets of the Hub"
    settings = DatasetSettings

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._settings = DatasetSettings.model_validate(arguments)
        self._rewards = [reward_of(one) for one in self._settings.rewards]
        self._oddities: dict[str, Oddities] = {}
        self._pairs = False
        """Whether pairs were read, whose overlap DPO's own checks name."""

    @cached_property
    def sources(self) -> list[Source]:
        """Where training rows come from."""
        return [Source(one, self._settings) for one in self._settings.data or ()]

    @cached_property
    def eval_sources(self) -> list[Source]:
        """Where eval rows come from; those of training, where a part of them is held out."""
        chosen = self._settings
        if chosen.eval_data is not None:
            return [Source(one, chosen) for one in chosen.eval_data]
        if chosen.eval_split is not None:
            split = {"split": chosen.eval_split}
            return [Source(one.model_copy(update=split), chosen) for one in chosen.data or ()]
        return self.sources

    def sft_samples(self, split: str, seed: int) -> Iterator[Sample]:
        """Rows with a reply to imitate."""
        return self._samples("sft", split)

    def preference_samples(self, split: str, seed: int) -> Iterator[PreferenceSample]:
        """Rows with a better and a worse answer."""
        for sample in self._samples("dpo", split):
            assert isinstance(sample, PreferenceSample)
            yield sample

    def rl_samples(self, split: str, seed: int) -> Iterator[Sample]:
        """Prompts; of a conversation, what comes before its last reply."""
        return self._samples("rl", split)

    def eval_samples(self, split: str, seed: int) -> Iterator[Sample]:
        """The same of the split "eval" (all rows, where nothing is held out), "train" or "all"."""
        if split not in SPLITS:
            raise TaskError(
                f"there is no split {split!r}",
                place="evaluation.split",
                next_step=f"Choose one of {', '.join(SPLITS)}.",
            )
        return self._samples("eval", split)

    def rewards(self) -> Sequence[Reward]:
        """Those of `task.args.rewards`."""
        return self._rewards

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        """The mean of each reward, over all rollouts and over those of each source, and the metrics of `task.args.metrics`."""
        found = self._means(rollouts)
        labels = sorted({str(one.sample.data.get("source", "")) for one in rollouts})
        if len(labels) > 1:
            for label in labels:
                part = [one for one in rollouts if one.sample.data.get("source") == label]
                found |= {f"{name}/{label}": metric for name, metric in self._means(part).items()}
        for target in self._settings.metrics:
            found |= imported(target)(rollouts)
        return found

    def _means(self, rollouts: Sequence[Rollout]) -> dict[str, Metric]:
        """The mean of each reward, with Wilson's interval where all of its values are 0 or 1."""
        found = {}
        for reward in self._rewards:
            values = [value for value in map(reward, rollouts) if value is not None]
            whole = all(value in (0.0, 1.0) for value in values)
            found[reward.name] = (
                Metric.proportion(int(sum(values)), len(values)) if whole else Metric.mean(values)
            )
        return found

    def samples_key(self, split: str, seed: int) -> str | None:
        """Of all settings and the contents of all files; None where a data set of the Hub is at no fixed commit."""
        every = (*self.sources, *self.eval_sources)
        if any(source.path is None and not hub.is_commit(source.settings.revision) for source in every):
            return None
        facts = [self._settings.model_dump(mode="json"), sorted(self.provenance().items())]
        return sha256(orjson.dumps(facts)).hexdigest()

    def findings(self) -> Iterator[Finding]:
        """What is odd about the rows that were read."""
        for oddities in self._oddities.values():
            yield from oddities.findings()
        if "eval" in self._oddities and self._holds_out and not self._pairs:
            yield from self._oddities["eval"].overlap(self._train_prompts())

    def _train_prompts(self) -> Mapping[bytes, str]:
        """Where each prompt of the train split is; read now where an evaluation has not, unless that is a download."""
        if "train" in self._oddities:
            return self._oddities["train"].prompts
        if any(source.path is None for source in self.sources):
            return {}
        found: dict[bytes, str] = {}
        for one in self.rows("train"):
            if not isinstance(one, RowError):
                row, example = one
                found.setdefault(digest(example.prompt), row.place)
        return found

    def provenance(self) -> Mapping[str, str]:
        """SHA-256 of every file, and the commits of data sets of the Hub."""
        every = {id(one): one for one in (*self.sources, *self.eval_sources)}
        return {name: digest for one in every.values() for name, digest in one.provenance().items()}

    def oddities(self, split: str) -> Oddities:
        """The counts of a split, begun again."""
        oddities = self._oddities.setdefault(split, Oddities(split))
        oddities.clear()
        return oddities

    def rows(self, split: str, oddities: Oddities | None = None) -> Iterator[tuple[Row, Example] | RowError]:
        """The rows of a split with what they say; errors in the place of rows that cannot be read.

        Raises: TaskError: a source does not exist, or its format is not known.
        """
        for (found, _), _ in self._mixed(split, oddities):
            yield found

    def _samples(self, job: str, split: str) -> Iterator[Sample]:
        if self._settings.data is None:
            raise TaskError(
                "there is no data",
                place="task.args.data",
                next_step="Set it to a file, a folder or a data set of the Hub.",
            )
        if split == "eval" and not self._holds_out and job != "eval":
            raise TaskError(
                "no rows are held out as the eval split",
                place="task.args",
                next_step="Set eval_data, eval_split or eval_fraction, or leave training.eval_steps out.",
            )
        self._pairs = job == "dpo"
        oddities = self.oddities(split)
        seen: dict[str, str] = {}
        bad: list[RowError] = []
        for (found, label), again in self._mixed(split, oddities):
            try:
                if isinstance(found, RowError):
                    raise found
                row, example = found
                sample = _sample(job, row, example, label)
                if again:
                    sample = _repeated(sample, again)
                elif sample.id != row.place:
                    _require_new(sample.id, row.place, seen)
            except RowError as error:
                if self._settings.bad_rows == "refuse":
                    bad.append(error)
                    if len(bad) > TOLD:
                        break
                elif not again:
                    oddities.left_out(error)
                continue
            if bad:
                continue  # no more is needed than the names of what is wrong
            if not again:
                oddities.look(row, example)
            yield sample
        if bad:
            raise _refused(bad)

    def _mixed(
        self, split: str, oddities: Oddities | None
    ) -> Iterator[tuple[tuple[tuple[Row, Example] | RowError, str], int]]:
        chosen = self._settings
        sources = self.eval_sources if split == "eval" else self.sources

        def reader(source: Source) -> Any:
            return lambda: self._read(source, split, oddities)

        weights = [source.weight if split == "train" else None for source in sources]
        return mixed([reader(one) for one in sources], weights, chosen.seed, chosen.mixture)

    def _read(
        self, source: Source, split: str, oddities: Oddities | None
    ) -> Iterator[tuple[tuple[Row, Example] | RowError, str]]:
        fraction, key = self._settings.eval_fraction, self._settings.eval_key
        for found in source.examples(oddities):
            if not isinstance(found, RowError) and fraction and split != "all":
                try:
                    if is_held_out(*found, fraction, key) != (split == "eval"):
                        continue
                except RowError as error:
                    yield error, source.label
                    continue
            yield found, source.label

    @property
    def _holds_out(self) -> bool:
        chosen = self._settings
        return bool(chosen.eval_data or chosen.eval_split or chosen.eval_fraction)


def _sample(job: str, row: Row, example: Example, label: str) -> Sample:
    """The row as a sample of a job. Raises: RowError: it has nothing for this job."""
    given = row.values.get("id")
    name = row.place if given is None or isinstance(given, dict | list) else str(given)
    data: dict[str, Any] = {"source": label, "row": row.place}
    if job == "dpo":
        if not example.chosen:
            raise RowError(row.place, "it has no pair of answers (chosen, rejected), which DPO learns from")
        return PreferenceSample(
            name,
            example.prompt,
            data=data,
            tools=example.tools,
            chosen=example.chosen,
            rejected=example.rejected,
        )
    if job == "sft":
        if example.chosen:
            raise RowError(
                row.place,
                "it is a pair of answers, which DPO learns from; for SFT set columns: {completion: chosen} and format: completion",
            )
        if not example.completion:
            raise RowError(row.place, "it has no reply to learn from")
        return Sample(name, example.prompt, example.completion, data, example.tools)
    prompt: Sequence[Message] = [*example.prompt, *example.completion[:-1]]
    columns = {key: value for key, value in row.values.items() if key not in _READ}
    if example.answer is not None:
        columns["answer"] = example.answer
    data = _plain(columns) | data
    return Sample(name, prompt, data=data, tools=example.tools)


def _repeated(sample: Sample, again: int) -> Sample:
    from dataclasses import replace

    return replace(sample, id=f"{sample.id}#{again + 1}")


def _require_new(name: str, place: str, seen: dict[str, str]) -> None:
    if name in seen:
        raise RowError(place, f"its id {name!r} is that of {seen[name]}")
    seen[name] = place


def _refused(bad: list[RowError]) -> TaskError:
    named = "\n".join(f"  {one}" for one in bad[:TOLD])
    more = "\n  and more" if len(bad) > TOLD else ""
    number = f"{TOLD} rows or more" if more else f"{len(bad)} rows" if len(bad) > 1 else "1 row"
    return TaskError(
        f"{number} cannot be used:\n{named}{more}",
        next_step="Correct them; `tenyson data FILE` names all of them; task.args.bad_rows: leave_out trains without them.",
    )


def _plain(value: Any) -> Any:
    """A value as JSON has it: what Parquet and the Hub hold besides becomes text."""
    return orjson.loads(
        orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    )
