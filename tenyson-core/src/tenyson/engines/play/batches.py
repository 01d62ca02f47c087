"""Batches of conversations with an engine: independently where it can do that or takes messages, else turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from tenyson.engines.chat.chat_engine import ChatEngine
from tenyson.engines.engine import ContinuousEngine, Engine, Reply, Sampling
from tenyson.engines.play import Trajectory, play
from tenyson.engines.play.chats import play_chats
from tenyson.engines.play.independent import play_independently
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.limits import USUAL, Limits
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.sample import Sample


def play_batches(
    task: TaskPlugin,
    samples: Sequence[Sample],
    renderer: Renderer,
    engine: Engine | ChatEngine,
    sampling: Sampling,
    *,
    max_turns: int,
    batch_size: int,
    between: Callable[[], None],
    limits: Limits = USUAL,
) -> Generator[list[Trajectory], None, None]:
    """Play one conversation on each sample, `batch_size` of them at once; yield them batch by batch, in order.

    Args:
        between: called between two replies of a conversation; what it raises ends the play.
    """
    if isinstance(engine, ChatEngine):
        yield from play_chats(
            task,
            samples,
            engine,
            sampling,
            max_turns=max_turns,
            batch_size=batch_size,
            between=between,
            limits=limits,
        )
        return
    if isinstance(engine, ContinuousEngine):
        yield from play_independently(
            task,
            samples,
            renderer,
            engine,
            sampling,
            max_turns=max_turns,
            batch_size=batch_size,
            between=between,
            limits=limits,
        )
        return
    for start in range(0, len(samples), batch_size):
        seed = sampling.seed * 1_000_003 + start

        def generate(prompts: list[list[int]], turn: int, seed: int = seed) -> list[Reply]:
            if turn:
                between()
            return engine.generate(prompts, replace(sampling, seed=(seed + turn * 7919) % 2**32))

        yield play(
            task,
            samples[start : start + batch_size],
            renderer,
            generate,
            max_turns=max_turns,
            limits=limits,
        )
