"""Messages as OpenAI's clients send them, read into those that the renderer takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tenyson.engines.endpoint.api_error import ApiError
from tenyson.tasks.sample import Message, ToolCall
from tenyson.tasks.usercode import text_fault

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_KEYS = {
    "system": {"name"},
    "user": {"name"},
    "assistant": {
        "name", "tool_calls", "reasoning", "reasoning_content", "refusal", "annotations", "audio", "function_call",
    },
    "tool": {"name", "tool_call_id"},
}  # fmt: skip
"""What a message may have beside role and content."""
_EMPTY = ("refusal", "annotations", "audio", "function_call")
"""What a client repeats of a reply although nothing is in it."""


def read_messages(found: Any) -> tuple[Message, ...]:
    """Messages of a request. Raises: ApiError, which names the message."""
    if not isinstance(found, list) or not found:
        raise ApiError("messages must be a list with one message at least", param="messages")
    read: list[Message] = []
    names: dict[str, str] = {}
    for number, one in enumerate(found):
        message = _message(one, f"messages[{number}]")
        for call in message.get("tool_calls", ()):
            names[call.get("id", "")] = call["function"]["name"]
        # Templates write a tool's name beside its result, and OpenAI's form has it in the call alone.
        name = names.get(message.get("tool_call_id", ""))
        if message["role"] == "tool" and "name" not in message and name:
            message["name"] = name
        read.append(message)
    return tuple(read)


def read_tools(found: Any) -> tuple[Mapping[str, Any], ...]:
    """Schemas of tools. Raises: ApiError."""
    if found is None:
        return ()
    if not isinstance(found, list):
        raise ApiError("tools must be a list", param="tools")
    read = []
    for number, one in enumerate(found):
        place = f"tools[{number}]"
        function = one.get("function") if isinstance(one, Mapping) else None
        if not isinstance(function, Mapping) or one.get("type") != "function":
            raise ApiError(f"{place} must be a function", param=place)
        if text_fault(function.get("name")) or not function["name"]:
            raise ApiError(f"{place}: its name must be a text", param=f"{place}.function.name")
        if function.get("strict"):
            raise ApiError(
                f"{place}: arguments are not constrained to a schema", param=f"{place}.function.strict"
            )
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        if not isinstance(parameters, Mapping):
            raise ApiError(f"{place}: its parameters must be a schema", param=f"{place}.function.parameters")
        known = {
            "name": function["name"],
            "description": function.get("description") or "",
            "parameters": parameters,
        }
        read.append({"type": "function", "function": known})
    return tuple(read)


def same_form(message: Message) -> str:
    """A message as a text that is equal where two messages say the same, whichever client has repeated them.

    Neither ids of calls nor reasoning count: many clients leave them out.
    """
    calls = [[one["function"]["name"], one["function"]["arguments"]] for one in message.get("tool_calls", ())]
    return json.dumps([message["role"], message["content"], calls], sort_keys=True, ensure_ascii=False)


def _message(one: Any, place: str) -> Message:
    role = one.get("role") if isinstance(one, Mapping) else None
    if not isinstance(role, str) or role not in _ROLES:
        raise ApiError(f"{place}: its role must be one of {', '.join(_ROLES)}", param=f"{place}.role")
    known = _ROLES[role]
    given = {key: value for key, value in one.items() if value is not None}
    if further := sorted(set(given) - {"role", "content", *_KEYS[known]}):
        raise ApiError(
            f"{place}: '{further[0]}' is not supported in a message of the {role}",
            param=f"{place}.{further[0]}",
        )
    for key in _EMPTY:
        if given.get(key):
            raise ApiError(f"{place}: '{key}' is not supported", param=f"{place}.{key}")
    calls = _calls(given.get("tool_calls"), f"{place}.tool_calls")
    content = _content(given.get("content", "" if calls else None), f"{place}.content")
    message: Message = {"role": known, "content": content}  # type: ignore[typeddict-item]
    if calls:
        message["tool_calls"] = calls
    for key in ("name", "tool_call_id"):
        if key in given:
            message[key] = _text(given[key], f"{place}.{key}")  # type: ignore[literal-required]
    if thought := given.get("reasoning_content") or given.get("reasoning"):
        message["reasoning"] = _text(thought, f"{place}.reasoning_content")
    return message


def _content(found: Any, place: str) -> str:
    if not isinstance(found, list):
        return _text(found, place)
    texts = []
    for number, part in enumerate(found):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind != "text":
            raise ApiError(f"{place}[{number}]: only text is supported", param=f"{place}[{number}]")
        texts.append(_text(part.get("text"), f"{place}[{number}].text"))
    return "".join(texts)


def _calls(found: Any, place: str) -> list[ToolCall]:
    if found is None:
        return []
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise ApiError(f"{place} must be a list", param=place)
    calls: list[ToolCall] = []
    for number, one in enumerate(found):
        function = one.get("function") if isinstance(one, Mapping) else None
        if not isinstance(function, Mapping) or text_fault(function.get("name")):
            raise ApiError(f"{place}[{number}] must be a call of a function", param=f"{place}[{number}]")
        arguments = function.get("arguments") or "{}"
        try:
            value = json.loads(arguments) if isinstance(arguments, str) else arguments
        except ValueError:
            value = None
        if not isinstance(value, dict):
            where = f"{place}[{number}].function.arguments"
            raise ApiError(f"{where} must be a JSON object", param=where)
        call: ToolCall = {"type": "function", "function": {"name": function["name"], "arguments": value}}
        if isinstance(one.get("id"), str):
            call["id"] = one["id"]
        calls.append(call)
    return calls


def _text(found: Any, place: str) -> str:
    if fault := text_fault(found):
        raise ApiError(f"{place} {fault}", param=place)
    return str(found)
