"""Checks of what SFT learns from: masks, ends, templates, lengths.

Shape legend: R rows; T token ids of a row, with as many labels (-100 where nothing is learnt).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tenyson.jobs.runtime.finding import Finding

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.data.conversations import Conversations


def check_conversations(
    rows: Conversations, renderer: Renderer, tokenizer: Any, config: Config, context_length: int | None
) -> Iterator[Finding]:
    """All checks of one split. `context_length`: tokens that the model can read at once, where that is known."""
    yield from rows.findings
    yield from _lengths(rows, config)
    yield from _readable(rows, context_length)
    yield from _ends(rows, renderer)
    yield from _beginnings(rows, tokenizer)
    if config.training.reasoning != "last":
        yield from _template(rows, renderer)
    if config.training.packing and config.trl.get("packing_strategy", "bfd") != "bfd":
        yield Finding(
            "packing",
            "warning",
            f"trl.packing_strategy: {config.trl['packing_strategy']} cuts samples where a row is full, and tokens attend to those of "
            "other samples",
            "Leave it out: bfd packs whole samples and keeps them apart.",
        )


def _lengths(rows: Conversations, config: Config) -> Iterator[Finding]:
    longest = config.training.max_length
    if rows.cut:
        yield Finding(
            "length",
            "warning",
            f"{rows.cut} of {rows.read} {rows.split} samples are longer than training.max_length = {longest} and were cut, so "
            f"their last reply does not end{_named(rows.cut_names)}; {rows.dropped} had nothing left to learn and were dropped"
            f"{_named(rows.dropped_names)}",
            f"Raise training.max_length to {rows.longest} to keep all of them whole.",
        )
    elif rows.dropped:
        yield Finding(
            "length",
            "warning",
            f"{rows.dropped} of {rows.read} {rows.split} samples have nothing to learn and were dropped{_named(rows.dropped_names)}",
            "Check the completions that the task gives.",
        )


def _named(names: list[str]) -> str:
    return f" (first: {', '.join(names)})" if names else ""


def _readable(rows: Conversations, context_length: int | None) -> Iterator[Finding]:
    lengths = rows.rows.lengths()
    over = int((lengths > context_length).sum()) if context_length else 0
    if over:
        yield Finding(
            "length",
            "error",
            f"{over} of {len(lengths)} {rows.split} rows are longer than all that the model can read ({context_length} tokens; "
            f"the longest has {max(lengths)})",
            f"Filter them in the task, or set training.max_length: {context_length} to cut them.",
        )


def _ends(rows: Conversations, renderer: Renderer) -> Iterator[Finding]:
    total = len(rows.rows)
    without = total - rows.rows.rows_with(renderer.stop_token_ids)
    if without == total:
        yield Finding(
            "eos",
            "error",
            f"no {rows.split} row trains a stop token ({renderer.turn_end!r}), so the model would never learn to end its reply",
            "Raise training.max_length, or check that completions end and the template closes a reply.",
        )
    elif without > rows.cut:
        yield Finding(
            "eos",
            "warning",
            f"{without} of {total} {rows.split} rows train no stop token",
            "Look at the decoded samples of `tenyson doctor`.",
        )


def _beginnings(rows: Conversations, tokenizer: Any) -> Iterator[Finding]:
    bos = tokenizer.bos_token_id
    if bos is not None and rows.rows.begin_with([bos, bos]):
        yield Finding(
            "double_bos",
            "error",
            f"rows begin with {tokenizer.bos_token!r} twice: the task's text holds it, and the template adds it",
            "Leave it out of the task's messages.",
        )


def _template(rows: Conversations, renderer: Renderer) -> Iterator[Finding]:
    for sample, ids in rows.examples:
        if len(sample.completion) < 2:
            continue  # what is trained is what the template writes, or was refused
        if renderer.rewrites(sample, ids):
            yield Finding(
                "template",
                "warning",
                "the chat template rewrites earlier replies once others follow (it strips their reasoning, or adds to them). "
                "Tenyson never rewrites what a model wrote, so that training sees what its own rollouts and evaluations see; other "
                "programs show the model the template's history",
                "For those, set training.reasoning: last, which trains the last reply after such a history; or leave it as it is.",
            )
            return
