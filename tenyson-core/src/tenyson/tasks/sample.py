"""A sample: one prompt of a task, with what is known about its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict


class Message(TypedDict):
    """One message of a conversation, as chat templates take it."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Sample:
    """One prompt of a task. SFT also reads `completion`; rewards and environments read `data`."""

    id: str
    """The same in every run, so that two runs can be paired on it."""
    prompt: Sequence[Message]
    """The conversation before the first reply; ends with a user message."""
    completion: Sequence[Message] = ()
    """What SFT teaches: begins with an assistant message; user messages between the turns carry no loss."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """JSON-safe facts, such as the right answer. Never shown to the model."""
