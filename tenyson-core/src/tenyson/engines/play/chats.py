"""Rollouts with a chat engine: each conversation continues as soon as its own reply has come.

Shape legend: B conversations in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from tenyson.engines.chat.chat_engine import ChatEngine
from tenyson.engines.chat.chat_game import ChatGame
from tenyson.engines.chat.chat_renderer import ChatRenderer, conversation
from tenyson.engines.engine import Sampling
from tenyson.engines.play import Trajectory
from tenyson.engines.play.independent import Conversations
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.limits import USUAL, Limits
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.sample import Sample

PATIENCE_SECONDS = 1.0
"""An answer may take minutes: whoever wants to end the play is not kept waiting for it."""


def play_chats(
    task: TaskPlugin,
    samples: Sequence[Sample],
    engine: ChatEngine,
    sampling: Sampling,
    *,
    max_turns: int,
    batch_size: int,
    between: Callable[[], None] = lambda: None,
    limits: Limits = USUAL,
) -> Iterator[list[Trajectory]]:
    """Play one conversation on each sample, `engine.concurrency` of them at once; yield them in batches of B, in order.

    Requests do not count for `limits.concurrency`. The seed of each reply is that of `sampling`, the conversation's index and its
    turn.

    Args:
        between: called whenever something has ended, and each second; what it raises ends the play, and what is under way is dropped.

    Raises:
        EndpointError: of a request, where every further one would fail in the same way.
    """
    chats = _Chats(task, samples, engine, sampling, max_turns, limits)
    try:
        for start in range(0, len(samples), batch_size):
            batch = range(start, min(start + batch_size, len(samples)))
            while not chats.ended(batch):
                chats.fill(min(batch_size, engine.concurrency))
                chats.settle(wait=True, seconds=PATIENCE_SECONDS)
                between()
            yield chats.collect(batch)
    finally:
        chats.close()


class _Chats(Conversations):
    def __init__(
        self,
        task: TaskPlugin,
        samples: Sequence[Sample],
        engine: ChatEngine,
        sampling: Sampling,
        max_turns: int,
        limits: Limits,
    ) -> None:
        renderer = cast(Renderer, ChatRenderer())
        super().__init__(task, samples, renderer, cast(Any, engine), sampling, max_turns, limits)
        self._chat = engine
        self._shared = task, renderer, max_turns, limits

    def begin(self, sample: Sample) -> ChatGame:
        task, renderer, max_turns, limits = self._shared
        return ChatGame(task, sample, renderer, max_turns, limits)

    def _ask(self, index: int, game: Any, sampling: Sampling) -> None:
        messages, tools = conversation(game.pieces)
        key = ("reply", index)
        self._came[index] = [None]
        self._calling[key] = (index, 0)
        self._side.follow(key, self._chat.reply(messages, tools, sampling))
