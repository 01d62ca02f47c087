"""Checks of prompts and replies: whether they fit what the model reads, where they end, and what their loss says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tenyson.jobs.models.memory import engine_limit
from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.sample import Sample

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer

COUNTED = 10_000
"""Prompts whose length is counted at most: some seconds' worth."""


def prompt_lengths(samples: Sequence[Sample], renderer: Renderer) -> list[int]:
    """Tokens of each prompt, up to the first COUNTED different ones."""
    known: dict[int, int] = {}
    lengths = []
    for sample in samples:
        # An evaluation plays one sample several times.
        if id(sample) not in known:
            if len(known) == COUNTED:
                break
            known[id(sample)] = len(renderer.prompt_ids(sample))
        lengths.append(known[id(sample)])
    return lengths


def check_prompts(
    lengths: Sequence[int], prompts: int, turns: int, config: Config, context_length: int | None
) -> Iterator[Finding]:
    """Lengths in tokens, of all prompts or the first of them, against what the model can read.

    `turns`: replies of one conversation at most, which may fill up what the prompt leaves.
    """
    longest = max(lengths)
    limit = min(filter(None, (context_length, engine_limit(config.engine_args, config.trl))), default=None)
    if limit is None:
        return
    reply = config.generation.max_new_tokens
    over = sum(length >= limit for length in lengths)
    first = "the first " if len(lengths) < prompts else ""
    if over:
        yield Finding(
            "prompt_length",
            "error",
            f"{over} of {first}{len(lengths)} prompts are as long as all that the model can read ({limit} tokens; the longest has "
            f"{longest})",
            "Filter them in the task, or raise the limit of the engine or the model.",
        )
    elif longest + turns * reply > limit:
        replies = f"{turns} replies" if turns > 1 else "a reply"
        yield Finding(
            "prompt_length",
            "warning",
            f"the longest of {first}{len(lengths)} prompts ({longest} tokens) and {replies} of up to {reply} come to "
            f"{longest + turns * reply} tokens or more; the model can read {limit}",
            "Lower generation.max_new_tokens or max_turns, or shorten the prompts.",
        )
    elif first:
        yield Finding(
            "prompt_length",
            "info",
            f"the first {len(lengths)} of {prompts} prompts fit; the others were not counted",
        )


def check_unused_eos(renderer: Renderer) -> Iterator[Finding]:
    """What the checkpoint would end replies on, and Tenyson does not."""
    if renderer.unused_eos:
        yield Finding(
            "eos",
            "warning",
            f"the checkpoint's generation config ends replies on {renderer.raw(renderer.unused_eos)!r} "
            f"(ids {', '.join(map(str, renderer.unused_eos))}), which is ordinary text, so replies do not end there",
            "Mark the token as special in the tokenizer if it should end them.",
        )


def check_loss(config: Config) -> Iterator[Finding]:
    """What the number that everybody looks at first means."""
    if config.training.beta == 0 and config.trl.get("num_iterations", 1) == 1:
        yield Finding(
            "loss",
            "info",
            "with training.beta: 0 and one iteration GRPO's logged loss stays near 0 whatever is learnt: its value is the mean "
            "advantage, its gradient is not 0",
            "Watch the reward and its components instead.",
        )
