"""ChatEngine: messages in, a message out. The form of an engine whose tokens stay elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from tenyson.engines.engine import Sampling
from tenyson.engines.renderers.parsed import Parsed
from tenyson.tasks.sample import Message


@dataclass(frozen=True)
class ChatReply:
    """What the model answered to a conversation."""

    said: Parsed
    """The reply, in parts."""
    finish_reason: Literal["stop", "length"]
    """`stop`: the model ended it, by calls of tools too; `length`: a limit of tokens did."""
    prompt_tokens: int = 0
    """Tokens read, as the endpoint counts them; 0 where it does not say."""
    completion_tokens: int = 0
    """Tokens written, reasoning included; 0 where it does not say."""
    cost_usd: float | None = None
    """None where prices or counts are unknown."""
    filtered: bool = False
    """Whether a filter of the endpoint has cut or withheld it."""
    logprobs: None = None
    """Of its tokens, which are not known."""

    @property
    def ids(self) -> list[ChatReply]:
        """The reply as a piece of the conversation, where a `Reply` has token ids."""
        return [self]


@runtime_checkable
class ChatEngine(Protocol):
    """Answers conversations. `open_engine` builds it as it builds an `Engine`, which takes token ids instead."""

    name: str
    """What users write in `generation.engine`."""
    concurrency: int
    """Conversations that are under way at once."""

    def reply(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], sampling: Sampling
    ) -> Future[ChatReply]:
        """Ask for the next message. `sampling.seed` is the request's own; `stop_token_ids` mean nothing here.

        The future raises EndpointError: one that is `lasting` ends the play, others end their rollout.
        """

    def report(self) -> dict[str, Any]:
        """What it has been asked and has answered so far, for the results; JSON-safe."""

    def close(self) -> None:
        """Give up what is under way."""
