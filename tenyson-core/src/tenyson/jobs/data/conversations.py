"""Conversations: a task's SFT samples as token ids with the mask of what is learnt."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
from tenyson.jobs.data.rendered_rows import RenderedRows
from tenyson.jobs.data.samples import extent, read_samples
from tenyson.tasks.sample import Sample

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.job import JobContext
    from tenyson.tasks.plugin import TaskPlugin

EXAMPLES = 16


@dataclass
class Conversations:
    """R rows of one split, each with T ids and T labels: the id where it is learnt, else -100."""

    split: str
    ids: list[list[int]] = field(default_factory=list)
    labels: list[list[int]] = field(default_factory=list)
    read: int = 0
    """Samples that the task gave."""
    cut: int = 0
    """Of these, longer than `training.max_length`."""
    dropped: int = 0
    """Of these, with nothing to learn."""
    longest: int = 0
    """Tokens of the longest, before it was cut."""
    examples: list[tuple[Sample, list[int]]] = field(default_factory=list)
    """The first whole ones, as the task gave them, with their ids."""

    def dataset(self) -> Any:
        """As TRL takes it."""
        from datasets import Dataset

        return Dataset.from_dict({"input_ids": self.ids, "labels": self.labels})


def read_conversations(
    task: TaskPlugin,
    renderer: Renderer,
    split: str,
    config: Config,
    *,
    job: str = "sft",
    processes: int = 1,
    context: JobContext | None = None,
) -> Conversations:
    """Render a split. What is longer than `training.max_length` tokens is cut; what then has nothing to learn is dropped.
    Rows that an earlier start rendered are taken from `TENYSON_CACHE`.

    Args:
        job: the kind of job, whose samples are read.

    Raises:
        TaskError: nothing is left.
    """
    rows, max_length = Conversations(split), config.training.max_length
    wanted = extent(config, job, split, processes)
    rendered = RenderedRows.of(task, renderer, config, split)
    for sample in read_samples(
        task, job, split, config.run.seed, extent=wanted, tokenizer=renderer.tokenizer, context=context
    ):
        rows.read += 1
        ids, mask = rendered.row(sample, partial(renderer.conversation, sample, config.training.reasoning))
        rows.longest = max(rows.longest, len(ids))
        if max_length is not None and len(ids) > max_length:
            rows.cut += 1
            ids, mask = ids[:max_length], mask[:max_length]
        elif len(rows.examples) < EXAMPLES:
            rows.examples.append((sample, ids))
        if not any(mask):
            rows.dropped += 1
            continue
        rows.ids.append(ids)
        rows.labels.append([token if learn else -100 for token, learn in zip(ids, mask, strict=True)])
    with suppress(OSError):  # nothing is lost but time
        rendered.keep()
    if not rows.ids:
        raise TaskError(
            f"no sample of the SFT split {split!r} can be trained on: {rows.read} samples, "
            f"{rows.dropped} of them with nothing to learn within {max_length} tokens",
            next_step="Raise training.max_length, or check the task's sft_samples.",
        )
    return rows
