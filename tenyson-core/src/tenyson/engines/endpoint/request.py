"""What a request asks for, once it has been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenyson.tasks.sample import Message


@dataclass(frozen=True)
class Options:
    """How to reply."""

    n: int = 1
    """Replies to the prompt."""
    max_tokens: int | None = None
    """Most tokens of a reply; None for the endpoint's own limit."""
    drawn: Mapping[str, float] = field(default_factory=dict)
    """Parameters by which tokens are drawn, by the name that `Sampling` has for them: those that were given."""
    seed: int | None = None
    stop: tuple[str, ...] = ()
    """Texts before which a reply ends."""
    logprobs: bool = False
    """Whether the log-probability of each token is wanted."""
    token_ids: bool = False
    """Whether ids are wanted, of prompt and reply."""
    stream: bool = False
    include_usage: bool = False
    """Whether a stream ends with the number of tokens."""
    trained: bool = True
    """Whether training learns from the replies; not with `metadata: {"train": "false"}`."""


@dataclass(frozen=True)
class ChatRequest:
    """A request for the next reply of a conversation."""

    model: str
    messages: tuple[Message, ...]
    options: Options = Options()
    tools: tuple[Mapping[str, Any], ...] = ()
    """Schemas of what the model may call, in OpenAI's form."""
    reads_calls: bool = True
    """Whether calls are taken out of the reply; not with `tool_choice: none`."""


@dataclass(frozen=True)
class CompletionRequest:
    """A request to continue texts."""

    model: str
    prompts: tuple[str | tuple[int, ...], ...]
    """Texts, or token ids."""
    options: Options = Options()


Request = ChatRequest | CompletionRequest
