"""Conversations: a task's SFT samples as token ids with the mask of what is learnt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tenyson.core.finding import Finding
from tenyson.errors import TaskError
from tenyson.jobs.data.rendered_rows import RenderedRows, WholeRows
from tenyson.jobs.data.samples import Extent, extent, read_samples
from tenyson.jobs.data.token_rows import TokenRows
from tenyson.tasks.checks import overrides
from tenyson.tasks.sample import Sample
from tenyson.tasks.usercode import task_name, user_code

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.job import JobContext
    from tenyson.tasks.plugin import TaskPlugin

NAMED = 3
"""Samples that are named of those that were cut or dropped."""


@dataclass
class Conversations:
    """R rows of one split, each with T ids and T labels: the id where it is learnt, else -100."""

    split: str
    rows: TokenRows = field(default_factory=TokenRows)
    read: int = 0
    """Samples that the task gave."""
    cut: int = 0
    """Of these, longer than `training.max_length`."""
    dropped: int = 0
    """Of these, with nothing to learn."""
    longest: int = 0
    """Tokens of the longest, before it was cut."""
    cut_names: list[str] = field(default_factory=list)
    """Ids of the first that were cut."""
    dropped_names: list[str] = field(default_factory=list)
    """Ids of the first that were dropped."""
    examples: list[tuple[Sample, list[int]]] = field(default_factory=list)
    """The first whole ones, as the task gave them, with their ids."""
    findings: list[Finding] = field(default_factory=list)
    """What the task had to say of them when they were kept."""

    @property
    def ids(self) -> Sequence[list[int]]:
        """R rows of T ids."""
        return self.rows.ids

    @property
    def labels(self) -> Sequence[list[int]]:
        """R rows of T labels."""
        return self.rows.labels

    def count_cut(self, name: str) -> None:
        """Count a sample that was cut."""
        self.cut += 1
        self.cut_names += [name] if len(self.cut_names) < NAMED else []

    def count_dropped(self, name: str) -> None:
        """Count a sample that has nothing to learn."""
        self.dropped += 1
        self.dropped_names += [name] if len(self.dropped_names) < NAMED else []

    def dataset(self) -> Any:
        """As TRL takes it."""
        return self.rows.dataset()


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
    wanted = extent(config, job, split, processes)
    rendered = RenderedRows.of(task, renderer, config, split)
    key = _samples_key(task, job, split, config.run.seed, wanted)
    whole = rendered.whole(key)
    if whole is not None:
        if context is not None:
            context.say(f"{len(whole.rows):,} {split} rows are those that an earlier start has rendered")
    else:
        said = list(task.findings())
        for sample in read_samples(
            task, job, split, config.run.seed, extent=wanted, tokenizer=renderer.tokenizer, context=context
        ):
            rendered.row(sample, partial(renderer.conversation, sample, config.training.reasoning))
        with suppress(OSError):  # nothing is lost but time
            rendered.keep(key, [one for one in task.findings() if one not in said])
        whole = rendered.read()
    rows = _conversations(split, whole, config.training.max_length)
    if not len(rows.rows):
        raise TaskError(
            f"no sample of the SFT split {split!r} can be trained on: {rows.read} samples, "
            f"{rows.dropped} of them with nothing to learn within {config.training.max_length} tokens",
            next_step="Raise training.max_length, or check the task's sft_samples.",
        )
    return rows


def _conversations(split: str, whole: WholeRows, longest: int | None) -> Conversations:
    """Whole rows, cut and without those that have nothing to learn."""
    import numpy as np

    found = Conversations(split, read=len(whole.rows), findings=whole.findings)
    lengths = whole.rows.lengths()
    found.longest = int(lengths.max(initial=0))
    if longest is not None:
        for number in np.flatnonzero(lengths > longest).tolist():
            found.count_cut(whole.names[number])
    found.rows, dropped = whole.rows.cut(longest).that_learn()
    for number in dropped:
        found.count_dropped(whole.names[number])
    short = (
        (sample, ids)
        for sample, ids in zip(whole.examples, whole.rows.ids, strict=False)
        if longest is None or len(ids) <= longest
    )
    found.examples = list(short)
    return found


def _samples_key(task: TaskPlugin, job: str, split: str, seed: int, wanted: Extent) -> str | None:
    """What the samples of a split follow from; None where that is not known."""
    if any(overrides(task, hook) for hook in ("keep_sample", "tools")):
        return None
    with user_code(f"samples_key() of the task {task_name(task)}"):
        key = task.samples_key(split, seed)
    return None if key is None else json.dumps([key, job, split, wanted.most])
