"""A conversation as text to read: what `prompt` and `completion` hold where no tokens are known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tenyson.tasks.sample import Message


def transcript(messages: Iterable[Message], tools: Sequence[Mapping[str, Any]] = ()) -> str:
    """One block for each message, headed by its role in brackets; tools that the model may call come first."""
    blocks = [_block("tools", "\n".join(_json(one) for one in tools))] if tools else []
    for message in messages:
        name = f" {message['name']}" if message["role"] == "tool" and message.get("name") else ""
        if message.get("reasoning"):
            blocks.append(_block("reasoning", message["reasoning"]))
        calls = message.get("tool_calls") or []
        if message["content"] or not calls:
            blocks.append(_block(message["role"] + name, message["content"]))
        for call in calls:
            function = call["function"]
            blocks.append(_block(f"call of {function['name']}", _json(function["arguments"])))
    return "\n\n".join(blocks)


def _block(head: str, text: str) -> str:
    return f"[{head}]\n{text}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
