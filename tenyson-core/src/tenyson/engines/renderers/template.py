"""A tokenizer's chat template: messages to text, and text to token ids."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tenyson.errors import ModelError
from tenyson.tasks.sample import Message

_REASONING = ("reasoning", "reasoning_content", "thinking")
"""Names under which templates look for the reasoning of a message."""
_SHORT = 64
"""Characters of what is often said again, such as an answer of a game: calling a tokenizer takes longer than its work."""
_NO_SYSTEM = "Set model.system: merge, which puts the system message before the first user message, or leave the system message out."


class ChatTemplate:
    """Writes conversations as the tokenizer's own template does.

    Args:
        arguments: `model.chat_template_kwargs`, variables of the template.
        merge_system: whether system messages are put before the first user message.

    Raises:
        ModelError: there is no template, or it has no variable of a name in `arguments`.
    """

    def __init__(
        self, tokenizer: Any, arguments: Mapping[str, Any] | None = None, *, merge_system: bool = False
    ) -> None:
        self.tokenizer = tokenizer
        self.arguments = dict(arguments or {})
        self.merge_system = merge_system
        if not getattr(tokenizer, "chat_template", None):
            raise self.error(
                "the model's tokenizer has no chat template",
                "Use an instruction-tuned model, or save a tokenizer whose chat_template is set.",
            )
        for name in self.arguments:
            if not re.search(rf"\b{re.escape(name)}\b", self.source):
                raise self.error(
                    f"model.chat_template_kwargs: the chat template has no variable {name}",
                    "Take it out, or correct its name; the template lies beside the tokenizer.",
                )
        self.special = _special_tokens(tokenizer)
        """Texts of the special tokens: never part of what somebody writes."""

    @property
    def source(self) -> str:
        """The template itself."""
        return str(self.tokenizer.chat_template)

    def render(
        self, messages: Sequence[Message], *, opening: bool = True, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """A conversation as text; `opening`: with the beginning of the next reply; `tools`: what the model may call.

        Raises:
            ModelError: the template refuses it.
        """
        given = _merged(messages) if self.merge_system else messages
        try:
            return self._apply(given, opening, as_text=False, tools=tools)
        except Exception as error:
            # Some templates (DeepSeek V3) take the arguments of a call as a JSON text alone.
            if any(message.get("tool_calls") for message in given):
                try:
                    return self._apply(given, opening, as_text=True, tools=tools)
                except Exception:
                    pass
            roles = [message["role"] for message in messages]
            unsaid = not self.merge_system and "system" in roles and self._takes(given[1:], opening)
            raise self.error(
                f"the chat template refuses a conversation of {roles}: {error}",
                _NO_SYSTEM if unsaid else None,
            ) from error

    def ids(self, text: str) -> list[int]:
        """Token ids of a piece of text, with nothing added."""
        return list(self._short(text)) if len(text) <= _SHORT else self._tokenized(text)

    def raw(self, ids: Sequence[int]) -> str:
        """Text of ids as they are, special tokens included."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))

    def leading(self, text: str, among: set[str] | None = None) -> str | None:
        """The special token that a text begins with, or one of `among`; None if there is none."""
        found = [token for token in among or self.special if token and text.startswith(token)]
        return max(found, key=len, default=None)

    def trailing(self, text: str) -> str | None:
        """The special token that a text ends with, blanks left aside; None if there is none."""
        found = [token for token in self.special if token and text.rstrip().endswith(token)]
        return max(found, key=len, default=None)

    def error(self, cause: str, next_step: str | None = None) -> ModelError:
        """An error whose place is the tokenizer."""
        return ModelError(cause, place=str(self.tokenizer.name_or_path), next_step=next_step)

    @lru_cache(maxsize=1 << 15)  # noqa: B019  a job has one renderer, for as long as it runs
    def _short(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenized(text))

    def _tokenized(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _apply(
        self,
        messages: Sequence[Message],
        opening: bool,
        *,
        as_text: bool,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                [_for_template(message, as_text) for message in messages],
                tokenize=False,
                add_generation_prompt=opening,
                tools=[dict(one) for one in tools] or None,
                **self.arguments,
            )
        )

    def _takes(self, messages: Sequence[Message], opening: bool) -> bool:
        try:
            self._apply(messages, opening, as_text=False)
        except Exception:
            return False
        return True


def _for_template(message: Message, as_text: bool) -> dict[str, Any]:
    """A message with its reasoning under every name that templates know, and its calls in OpenAI's form."""
    plain: dict[str, Any] = {name: value for name, value in message.items() if name not in _REASONING}
    if reasoning := reasoning_of(message):
        plain |= dict.fromkeys(_REASONING, reasoning)
    if calls := message.get("tool_calls"):
        plain["tool_calls"] = [_call(call, number, as_text) for number, call in enumerate(calls)]
    return plain


def _call(call: Mapping[str, Any], number: int, as_text: bool) -> dict[str, Any]:
    function = dict(call.get("function", call))
    arguments = function.get("arguments", {})
    if isinstance(arguments, str) and not as_text:
        arguments = json.loads(arguments)
    elif as_text and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    known = {"name": function["name"], "arguments": arguments}
    return {"id": call.get("id", f"call_{number}"), "type": "function", "function": known}


def reasoning_of(message: Message) -> str | None:
    """The reasoning that a message holds beside its content."""
    for name in _REASONING:
        if value := message.get(name):
            return str(value)
    return None


def shared(one: str, other: str) -> int:
    """Number of characters with which both texts begin."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def _merged(messages: Sequence[Message]) -> list[Message]:
    """System messages at the beginning become the first lines of the first user message."""
    rest = list(messages)
    said = []
    while rest and rest[0]["role"] == "system":
        said.append(rest.pop(0)["content"])
    if said and rest and rest[0]["role"] == "user":
        rest[0] = {"role": "user", "content": "\n\n".join([*said, rest[0]["content"]])}
        return rest
    return list(messages)


def _special_tokens(tokenizer: Any) -> set[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {str(token) for token in added if getattr(token, "special", False)}
    return special | set(tokenizer.all_special_tokens)
