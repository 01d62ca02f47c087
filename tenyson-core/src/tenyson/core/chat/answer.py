"""An answer of an endpoint, checked before anybody takes it for one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tenyson.core.chat.usage import Usage

if TYPE_CHECKING:
    from tenyson.tasks.sample import ToolCall

LONGEST = 10_000_000
"""Characters of one text in an answer."""


@dataclass(frozen=True)
class ChatAnswer:
    """What a model behind an endpoint answered."""

    text: str
    """Its reply, without reasoning and calls. A refusal that the endpoint reports apart stands here too."""
    reasoning: str | None
    """What it thought before, where the endpoint shows that."""
    tool_calls: list[ToolCall]
    """Calls that can be read, in order."""
    unreadable: list[str]
    """Calls whose arguments are no JSON object, as the endpoint wrote them."""
    finish_reason: str
    """As the endpoint says: stop, length, tool_calls, content_filter ..."""
    usage: Usage
    """Tokens as the endpoint counts them."""
    cost: float | None = None
    """US dollars; None where prices or token counts are unknown."""
    model: str | None = None
    """What the endpoint says has answered, such as a dated version."""
    logprobs: list[Mapping[str, Any]] | None = field(default=None, repr=False)
    """Log-probabilities of the reply's tokens as the endpoint writes them, where they were asked for."""

    @property
    def prompt_tokens(self) -> int | None:
        """Tokens that the endpoint has read; None where it does not say."""
        return self.usage.prompt

    @property
    def completion_tokens(self) -> int | None:
        """Tokens that the model has written, reasoning included; None where the endpoint does not say."""
        return self.usage.completion


class UnreadableAnswerError(ValueError):
    """What came back is no chat completion; the message says why."""


def read_answer(body: bytes) -> ChatAnswer:
    """The answer in a response's body. Raises: UnreadableAnswerError."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        start = body[:60].decode("utf-8", "replace").strip()
        raise UnreadableAnswerError(f"it is no JSON: {start!r}" if start else "it is empty") from None
    choices = data.get("choices") if isinstance(data, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(data, dict) or not isinstance(choice, dict) or not isinstance(message, dict):
        raise UnreadableAnswerError("it has no choices[0].message")
    text, thought = _texts(message.get("content"))
    reasoning = message.get("reasoning_content") or message.get("reasoning") or thought
    calls, unreadable = _calls(message.get("tool_calls"))
    finish, model = choice.get("finish_reason"), data.get("model")
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return ChatAnswer(
        text=_checked(text or _texts(message.get("refusal"))[0]),
        reasoning=_checked(reasoning) if isinstance(reasoning, str) else None,
        tool_calls=calls,
        unreadable=unreadable,
        finish_reason=finish if isinstance(finish, str) else "stop",
        usage=Usage.read(data.get("usage")),
        model=model if isinstance(model, str) else None,
        logprobs=[one for one in content if isinstance(one, dict)] if isinstance(content, list) else None,
    )


def _texts(content: Any) -> tuple[str, str | None]:
    """A message's text, and its reasoning where both stand in a list of parts."""
    if content is None or isinstance(content, str):
        return content or "", None
    if not isinstance(content, list):
        raise UnreadableAnswerError(f"its content is a {type(content).__name__}")
    texts, thoughts = [], []
    for part in content:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and "thinking" in part:
            thoughts.append(_texts(part["thinking"])[0])
    return "".join(texts), "".join(thoughts) or None


def _checked(text: str) -> str:
    if len(text) > LONGEST:
        raise UnreadableAnswerError(f"its text has {len(text):,} characters; the limit is {LONGEST:,}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnreadableAnswerError("its text holds half a surrogate pair") from None
    return text


def _calls(found: Any) -> tuple[list[ToolCall], list[str]]:
    calls: list[ToolCall] = []
    unreadable = []
    for number, one in enumerate(found if isinstance(found, list) else ()):
        function = one.get("function") if isinstance(one, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except (ValueError, RecursionError):
                arguments = None
        if isinstance(name, str) and isinstance(arguments, dict):
            call = one.get("id")
            identifier = call if isinstance(call, str) and call else f"call_{number}"
            written = {"name": name, "arguments": arguments}
            _checked(json.dumps(written, ensure_ascii=False))
            calls.append({"type": "function", "id": identifier, "function": written})  # type: ignore[typeddict-item]
        else:
            unreadable.append(_checked(json.dumps(function or one, ensure_ascii=False)))
    return calls, unreadable
