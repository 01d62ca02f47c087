"""Checks of what DPO learns from: the checks of conversations on both answers, identical pairs, empty answers, overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.jobs.models.memory import Facts
from tenyson.jobs.preflight.conversations import check_conversations
from tenyson.jobs.preflight.job_checks import Examined, Preflight
from tenyson.jobs.preflight.new_tokens import check_new_tokens
from tenyson.jobs.preflight.report import Segments, segments
from tenyson.jobs.preflight.shared_checks import check_machine
from tenyson.jobs.runtime.finding import Finding

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.data.dpo_pairs import Preferences
    from tenyson.jobs.models.model import ModelSource


class DPOPreflight(Preflight):
    """Pairs: masks, lengths, identical and empty answers, overlap."""

    def arguments(self, config: Config, checkpoints: Path) -> dict[str, Any]:
        """Of trl.DPOConfig."""
        from tenyson.jobs.trainers.dpo_arguments import dpo_arguments

        return dpo_arguments(config, checkpoints)

    def samples(self, examined: Examined) -> Iterator[Finding]:
        """As DPOJob checks them."""
        from tenyson.jobs.data.dpo_pairs import read_preferences

        one = examined
        splits = [
            read_preferences(
                one.task, one.renderer, split, one.config, job=one.kind.name, processes=one.processes
            )
            for split in one.splits
        ]
        one.decoded = pair_segments(splits[0], one.renderer, one.shown)
        yield from check_preferences(
            splits, one.renderer, one.tokenizer, one.config, one.source, one.memory, job=one.kind.name
        )


def check_preferences(
    splits: Sequence[Preferences],
    renderer: Renderer,
    tokenizer: Any,
    config: Config,
    source: ModelSource,
    memory: int | None = None,
    *,
    job: str = "dpo",
) -> Iterator[Finding]:
    """Before a training on pairs; train comes first.

    Args:
        memory: bytes of the accelerator; None for this machine's.
        job: the kind of job.
    """
    from tenyson.jobs.models.model import context_length

    context = context_length(source)
    for pairs in splits:
        for rows in (pairs.chosen, pairs.rejected):
            yield from check_conversations(rows, renderer, tokenizer, config, context)
        yield from _identical(pairs)
        yield from _without_text(pairs)
    if len(splits) == 2:
        yield from _overlap(*splits)
    yield from check_new_tokens(config, source, tokenizer)
    longest = max(rows.longest for pairs in splits for rows in (pairs.chosen, pairs.rejected))
    yield from check_machine(config, job, source.path, memory, Facts(row=longest, context=context))


def pair_segments(pairs: Preferences, renderer: Renderer, number: int = 2) -> list[Segments]:
    """The first pairs, decoded piece by piece: the chosen answer of each, then the rejected one."""
    both = (segments(rows, renderer, number) for rows in (pairs.chosen, pairs.rejected))
    return [one for pair in zip(*both, strict=True) for one in pair]


def _identical(pairs: Preferences) -> Iterator[Finding]:
    same = [
        name
        for name, chosen, rejected in zip(pairs.names, pairs.chosen.ids, pairs.rejected.ids, strict=True)
        if chosen == rejected
    ]
    if not same:
        return
    total = len(pairs.names)
    cut = ", some of them after both were cut" if pairs.chosen.cut and pairs.rejected.cut else ""
    yield Finding(
        "identical_pairs",
        "error" if len(same) == total else "warning",
        f"{len(same)} of {total} {pairs.split} pairs have the same chosen and rejected answer, so they teach nothing "
        f"(first: sample {same[0]}){cut}",
        "Leave them out in the task, or raise training.max_length if the answers differ only at their end."
        if cut
        else "Leave them out in the task.",
    )


def _without_text(pairs: Preferences) -> Iterator[Finding]:
    for answer, names in pairs.without_text.items():
        if names:
            yield Finding(
                "empty_answer",
                "error" if answer == "chosen" else "warning",
                f"{len(names)} of {len(pairs.names)} {pairs.split} pairs have a {answer} answer with an empty reply (first: sample "
                f"{names[0]})" + (", so the model would learn to say nothing" if answer == "chosen" else ""),
                "Leave them out in the task."
                + (" If it is meant, set run.allow: [empty_answer]." if answer == "chosen" else ""),
            )


def _overlap(train: Preferences, evaluation: Preferences) -> Iterator[Finding]:
    seen = dict(zip(_prompts(train), train.names, strict=True))
    shared = [
        f"{name}, as {seen[prompt]}"
        for name, prompt in zip(evaluation.names, _prompts(evaluation), strict=True)
        if prompt in seen
    ]
    if shared:
        yield Finding(
            "overlap",
            "warning",
            f"{len(shared)} of {len(evaluation.names)} eval prompts are also in train (first: sample {shared[0]}), so eval_loss and "
            "eval_rewards/* partly measure what was trained",
            "Split the task's samples by prompt.",
        )


def _prompts(pairs: Preferences) -> Iterator[tuple[int, ...]]:
    return (tuple(ids[:length]) for ids, length in zip(pairs.chosen.ids, pairs.prompts, strict=True))
