"""Messages as the OpenAI API takes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def to_wire(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages of Tenyson, or of the API itself, as the API takes them.

    Reasoning is left out: the API has no place for it. A tool's answer to a call that could not be read has no call to belong to
    and is told by the user.
    """
    return [_one(message) for message in messages]


def _one(message: Mapping[str, Any]) -> dict[str, Any]:
    role, content = message["role"], message.get("content")
    if role == "tool" and not message.get("tool_call_id"):
        return {"role": "user", "content": content}
    found: dict[str, Any] = {"role": role, "content": content}
    if role == "tool":
        found["tool_call_id"] = message["tool_call_id"]
    if calls := message.get("tool_calls"):
        found["tool_calls"] = [_call(number, call) for number, call in enumerate(calls)]
        found["content"] = content or None
    return found


def _call(number: int, call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {
        "id": call.get("id", f"call_{number}"),
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }
