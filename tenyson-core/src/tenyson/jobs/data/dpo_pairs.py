"""Preferences: a task's preference samples as pairs of token ids with the mask of what is learnt."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from tenyson.errors import ModelError, TaskError
from tenyson.jobs.data.conversations import Conversations
from tenyson.jobs.data.rendered_rows import EXAMPLES
from tenyson.jobs.data.samples import extent, read_samples
from tenyson.tasks.checks import check_messages
from tenyson.tasks.preference import PreferenceSample
from tenyson.tasks.sample import Message, Sample
from tenyson.tasks.usercode import shown, task_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenyson.config.schema import Config, TrainingConfig
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.job import JobContext
    from tenyson.tasks.plugin import TaskPlugin


@dataclass
class Preferences:
    """R pairs of one split. Row i of `chosen` and of `rejected` begin with the same `prompts[i]` tokens."""

    split: str
    chosen: Conversations
    rejected: Conversations
    prompts: list[int] = field(default_factory=list)
    """Tokens of each pair's prompt."""
    names: list[str] = field(default_factory=list)
    """Ids of the samples."""
    without_text: dict[str, list[str]] = field(default_factory=lambda: {"chosen": [], "rejected": []})
    """Ids of samples whose answer has a reply without text, by answer."""

    def dataset(self) -> Any:
        """As TRL takes it once it has tokenised the pairs, with a mask of each answer (1 where it is learnt) and the pair's length."""
        from datasets import Dataset

        columns: dict[str, list[Any]] = {
            "prompt_ids": [ids[:prompt] for ids, prompt in zip(self.chosen.ids, self.prompts, strict=True)]
        }
        for answer, rows in (("chosen", self.chosen), ("rejected", self.rejected)):
            columns[f"{answer}_ids"] = [
                ids[prompt:] for ids, prompt in zip(rows.ids, self.prompts, strict=True)
            ]
            columns[f"{answer}_mask"] = [
                [int(label != -100) for label in labels[prompt:]]
                for labels, prompt in zip(rows.labels, self.prompts, strict=True)
            ]
        # For train_sampling_strategy: group_by_length.
        columns["length"] = [
            max(map(len, pair)) for pair in zip(self.chosen.ids, self.rejected.ids, strict=True)
        ]
        return Dataset.from_dict(columns)


def read_preferences(
    task: TaskPlugin,
    renderer: Renderer,
    split: str,
    config: Config,
    *,
    job: str = "dpo",
    processes: int = 1,
    context: JobContext | None = None,
) -> Preferences:
    """Render a split. What is longer than `training.max_length` tokens is cut; pairs that then have an answer with nothing to
    learn are dropped.

    Args:
        job: the kind of job, whose samples are read.

    Raises:
        TaskError: a sample is no pair of answers, or nothing is left.
    """
    pairs = Preferences(split, Conversations(f"{split} chosen"), Conversations(f"{split} rejected"))
    hook = f"preference_samples({split!r}) of the task {task_name(task)}"
    max_length = config.training.max_length
    wanted = extent(config, job, split, processes)
    for sample in read_samples(
        task, job, split, config.run.seed, extent=wanted, tokenizer=renderer.tokenizer, context=context
    ):
        pair = _pair(sample, hook)
        opening = renderer.prompt_ids(pair)
        prompt = len(opening)
        whole = [
            _take(rows, renderer, _answered(pair, answer), config.training)
            for rows, answer in ((pairs.chosen, pair.chosen), (pairs.rejected, pair.rejected))
        ]
        if any(ids[:prompt] != opening for ids, _ in whole):
            raise ModelError(
                f"{hook}: the chat template writes the first reply of sample {pair.id} otherwise once another one follows, so its "
                "answers do not begin with the prompt",
                next_step="Set training.reasoning: keep, or give answers of one reply.",
            )
        kept = [(ids[:max_length], mask[:max_length]) for ids, mask in whole]
        if not all(any(mask) for _, mask in kept):
            pairs.chosen.count_dropped(pair.id)
            pairs.rejected.count_dropped(pair.id)
            continue
        for rows, (ids, mask) in zip((pairs.chosen, pairs.rejected), kept, strict=True):
            rows.rows.append(ids, mask)
        pairs.prompts.append(prompt)
        pairs.names.append(pair.id)
        for answer, messages in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            if any(one["role"] == "assistant" and not one["content"].strip() for one in messages):
                pairs.without_text[answer].append(pair.id)
    if not pairs.names:
        raise TaskError(
            f"no pair of the preference split {split!r} can be trained on: {pairs.chosen.read} samples, "
            f"{pairs.chosen.dropped} of them with nothing to learn within {max_length} tokens",
            next_step="Raise training.max_length, or check the task's preference_samples.",
        )
    return pairs


def _pair(sample: Sample, hook: str) -> PreferenceSample:
    """Raises: TaskError: it is none, or an answer is not assistant and user messages in turn."""
    if not isinstance(sample, PreferenceSample):
        raise TaskError(
            f"{hook}: sample {sample.id} is {shown(sample)}, which is no PreferenceSample",
            next_step="Yield PreferenceSample(id=..., prompt=[...], chosen=[...], rejected=[...]).",
        )
    _require_turns(sample.chosen, f"{hook}: the chosen answer of sample {sample.id}")
    _require_turns(sample.rejected, f"{hook}: the rejected answer of sample {sample.id}")
    return sample


def _answered(pair: PreferenceSample, answer: Sequence[Message]) -> Sample:
    """The sample with one of its answers as completion. Every other field of a sample is kept, whichever it has."""
    kept = {one.name: getattr(pair, one.name) for one in fields(Sample)}
    return Sample(**{**kept, "completion": answer})


def _require_turns(messages: Sequence[Message], what: str) -> None:
    check_messages(messages, what)
    roles = [message["role"] for message in messages]
    if not roles:
        raise TaskError(
            f"{what} has no message", next_step='Write [{"role": "assistant", "content": "..."}].'
        )
    if set(roles[::2]) != {"assistant"} or set(roles[1::2]) - {"user"}:
        raise TaskError(f"{what} must be assistant, user, assistant, ...; it is {roles}")


def _take(
    rows: Conversations, renderer: Renderer, sample: Sample, training: TrainingConfig
) -> tuple[list[int], list[int]]:
    """Ids and mask of prompt and answer, whole; counts the row."""
    max_length = training.max_length
    ids, mask = renderer.conversation(sample, training.reasoning)
    rows.read += 1
    rows.longest = max(rows.longest, len(ids))
    if max_length is not None and len(ids) > max_length:
        rows.count_cut(sample.id)
    elif len(rows.examples) < EXAMPLES:
        rows.examples.append((sample, ids))
    return ids, mask
