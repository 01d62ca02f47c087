"""A sample: one prompt of a task, with what is known about its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict


class FunctionCall(TypedDict):
    """A function's name, and its arguments by name."""

    name: str
    arguments: dict[str, Any]


class ToolCall(TypedDict):
    """A call of a tool by the model, in OpenAI's form."""

    type: Literal["function"]
    function: FunctionCall
    id: NotRequired[str]


class Message(TypedDict):
    """One message of a conversation, as chat templates take it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    """What is said, without reasoning where the model's family writes that apart."""
    reasoning: NotRequired[str]
    """What an assistant thought before it said so; `reasoning_content` is read too."""
    tool_calls: NotRequired[list[ToolCall]]
    """Calls that an assistant makes."""
    name: NotRequired[str]
    """Of a tool's message: the tool."""
    tool_call_id: NotRequired[str]
    """Of a tool's message: the call that it answers."""


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
    tools: Sequence[Mapping[str, Any]] = ()
    """What the prompt says of the tools that the model may call; jobs fill it in from `TaskPlugin.tools`."""
