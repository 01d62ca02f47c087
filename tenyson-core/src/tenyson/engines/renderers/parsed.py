"""A reply, parsed."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenyson.tasks.sample import ToolCall


@dataclass(frozen=True)
class Parsed:
    """What a reply says."""

    content: str
    """Its text, without reasoning, calls and markers."""
    reasoning: str | None = None
    """What the model thought before it; None for nothing."""
    tool_calls: list[ToolCall] = field(default_factory=list)
    """Its calls, in order."""
