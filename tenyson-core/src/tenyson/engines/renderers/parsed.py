"""A reply, parsed."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenyson.tasks.sample import Message, ToolCall


@dataclass(frozen=True)
class Parsed:
    """What a reply says."""

    content: str
    """Its text, without reasoning, calls and markers."""
    reasoning: str | None = None
    """What the model thought before it; None for nothing."""
    tool_calls: list[ToolCall] = field(default_factory=list)
    """Its calls, in order."""
    unreadable: bool = False
    """Whether something in it begins like a call and cannot be read as one; it stands in the content."""

    @property
    def message(self) -> Message:
        """The reply as a message."""
        message: Message = {"role": "assistant", "content": self.content}
        if self.reasoning:
            message["reasoning"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        return message
