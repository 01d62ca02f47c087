"""Messages: conversations as data files write them (OpenAI's and ShareGPT's forms), as Tenyson's messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from tenyson.tasks.dataset.row import Row, RowError
from tenyson.tasks.sample import Message, ToolCall
from tenyson.tasks.usercode import shown, text_fault

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_call": "assistant",
}
"""Roles of OpenAI, ShareGPT and their relatives."""
_REASONING = ("reasoning", "reasoning_content", "thinking")


def text_of(row: Row, field: str, default: str | None = None) -> str:
    """The text in a field; `default` where it is absent or null. Raises: RowError: it is no text."""
    value = row.values.get(field)
    if value is None and default is not None:
        return default
    return _text(value, field, row.place)


def message_list(row: Row, field: str) -> list[Message]:
    """Messages with `role` and `content`. Raises: RowError."""
    return [_message(one, f"message {number} of {field}", row.place) for number, one in _listed(row, field)]


def sharegpt_list(row: Row, field: str) -> list[Message]:
    """Messages with `from` and `value`; those with `role` and `content` are read too. Raises: RowError."""
    found = []
    for number, one in _listed(row, field):
        what = f"message {number} of {field}"
        if isinstance(one, Mapping) and "from" in one and "role" not in one:
            found.append(_sharegpt(one, what, row.place))
        else:
            found.append(_message(one, what, row.place))
    return found


def fit_reply(row: Row, field: str) -> list[Message]:
    """An answer: a text, one message, or a list of messages. Raises: RowError."""
    value = row.values[field]
    if isinstance(value, str):
        return [{"role": "assistant", "content": _text(value, field, row.place)}]
    if isinstance(value, Mapping):
        return [_message(value, field, row.place)]
    return message_list(row, field)


def tool_list(row: Row) -> list[Mapping[str, Any]]:
    """The tools that the row offers, in OpenAI's form. Raises: RowError."""
    tools = _decoded(row.values.get("tools") or [], "tools", row.place)
    if not isinstance(tools, list):
        raise RowError(row.place, f"tools is {shown(tools)}, not a list of functions")
    found: list[Mapping[str, Any]] = []
    for one in tools:
        function = one.get("function", one) if isinstance(one, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise RowError(row.place, f"tools holds {shown(one)}, which is no function with a name")
        found.append({"type": "function", "function": dict(function)})
    return found


def alternating(messages: Sequence[Message], place: str) -> None:
    """Raises: RowError: the roles come in an order in which no conversation is held."""
    before: str | None = None
    for number, message in enumerate(messages, 1):
        role, fault = message["role"], None
        if role == "system" and before is not None:
            fault = "comes after others; a system message is the first"
        elif role == "assistant" and before in (None, "system"):
            fault = "is a reply to nothing: a conversation begins with the user"
        elif role == before and role in ("user", "assistant"):
            fault = f"is a second one of the {role} in a row"
        elif role == "tool" and before not in ("assistant", "tool"):
            fault = "is of a tool that nobody has called"
        if fault:
            raise RowError(place, f"message {number} ({role}) {fault}; the roles are {_roles(messages)}")
        before = role
    if before in (None, "system"):
        raise RowError(place, "there is no message of the user")


def _roles(messages: Sequence[Message]) -> str:
    roles = [one["role"] for one in messages]
    return ", ".join(roles[:12]) + (", ..." if len(roles) > 12 else "")


def _listed(row: Row, field: str) -> list[tuple[int, Any]]:
    value = _decoded(row.values.get(field), field, row.place)
    if not isinstance(value, list) or not value:
        raise RowError(
            row.place, f"{field} is {'empty' if value == [] else shown(value)}; it must be a list of messages"
        )
    return list(enumerate(value, 1))


def _message(one: Any, what: str, place: str) -> Message:
    if not isinstance(one, Mapping) or "role" not in one:
        raise RowError(place, f"{what} is {shown(one)}; it must have role and content")
    if one.get("weight") in (0, 0.0) and one.get("weight") is not None:
        raise RowError(place, f"{what} has weight 0, and single messages cannot be left out of the loss")
    role = _role(one["role"], what, place)
    calls = _calls(one.get("tool_calls"), what, place)
    content = _content(one.get("content"), what, place, may_be_empty=bool(calls))
    message: dict[str, Any] = {"role": role, "content": content}
    for key in _REASONING:
        if one.get(key):
            message["reasoning"] = _text(one[key], f"the {key} of {what}", place)
            break
    if calls:
        message["tool_calls"] = calls
    for key in ("name", "tool_call_id"):
        if isinstance(one.get(key), str):
            message[key] = one[key]
    return cast("Message", message)


def _sharegpt(one: Mapping[str, Any], what: str, place: str) -> Message:
    said = one.get("value")
    if one["from"] == "function_call":
        return {
            "role": "assistant",
            "content": "",
            "tool_calls": _calls(_decoded(said, what, place), what, place),
        }
    return {"role": cast("Any", _role(one["from"], what, place)), "content": _content(said, what, place)}


def _role(role: Any, what: str, place: str) -> str:
    known = _ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        raise RowError(
            place, f"{what} has the role {role!r}; known are {', '.join(dict.fromkeys(_ROLES.values()))}"
        )
    return known


def _content(value: Any, what: str, place: str, *, may_be_empty: bool = False) -> str:
    if value is None and may_be_empty:
        return ""
    if isinstance(value, list):  # parts, as OpenAI's API takes them
        other = next(
            (one for one in value if not (isinstance(one, Mapping) and one.get("type") == "text")), None
        )
        if other is not None:
            kind = other.get("type") if isinstance(other, Mapping) else None
            raise RowError(place, f"{what} has a part {kind or shown(other)}; only text can be trained on")
        return "".join(_text(one.get("text"), f"the text of {what}", place) for one in value)
    return _text(value, f"the content of {what}", place)


def _calls(calls: Any, what: str, place: str) -> list[ToolCall]:
    if not calls:
        return []
    found: list[ToolCall] = []
    for one in calls if isinstance(calls, list) else [calls]:
        function = one.get("function", one) if isinstance(one, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise RowError(place, f"{what} makes the call {shown(one)}, which has no name")
        arguments = _decoded(function.get("arguments") or {}, f"the arguments of a call in {what}", place)
        if not isinstance(arguments, dict):
            raise RowError(place, f"the arguments of a call in {what} are {shown(arguments)}, not a mapping")
        call: ToolCall = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
        if isinstance(one.get("id"), str):
            call["id"] = one["id"]
        found.append(call)
    return found


def _decoded(value: Any, what: str, place: str) -> Any:
    """A value, or what its JSON says where it is given as text."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise RowError(place, f"{what} is no JSON: {error}") from None


def _text(value: Any, what: str, place: str) -> str:
    if fault := text_fault(value):
        raise RowError(place, f"{what} {fault}")
    return cast("str", value)
