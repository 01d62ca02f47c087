"""Answers of the endpoint, as JSON: whole, or as the events of a stream."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tenyson.engines.endpoint.choice import Choice
from tenyson.engines.endpoint.request import ChatRequest, Request


@dataclass(frozen=True)
class Answer:
    """Replies to one request."""

    request: Request
    prompts: Sequence[Sequence[int]]
    """Ids of each prompt: one, of a chat."""
    choices: Sequence[Choice]
    """`n` for each prompt, in order."""

    def body(self) -> dict[str, Any]:
        """The whole answer."""
        return {**self._head(""), "choices": self._choices(), "usage": self._usage()}

    def events(self) -> Iterator[dict[str, Any]]:
        """The same, piece by piece."""
        chat = isinstance(self.request, ChatRequest)
        head = self._head(".chunk" if chat else "")
        extra = {"usage": None} if self.request.options.include_usage else {}
        for choice in self._choices():
            for piece in _chat_pieces(choice) if chat else [choice]:
                yield {**head, "choices": [piece], **extra}
        if self.request.options.include_usage:
            yield {**head, "choices": [], "usage": self._usage()}

    def _head(self, suffix: str) -> dict[str, Any]:
        chat = isinstance(self.request, ChatRequest)
        head: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}",
            "object": f"chat.completion{suffix}" if chat else "text_completion",
            "created": int(time.time()),
            "model": self.request.model,
        }
        if self.request.options.token_ids and chat:
            head["prompt_token_ids"] = list(self.prompts[0])
        return head

    def _usage(self) -> dict[str, int]:
        prompt, written = sum(map(len, self.prompts)), sum(len(one.ids) for one in self.choices)
        return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}

    def _choices(self) -> list[dict[str, Any]]:
        chat, options = isinstance(self.request, ChatRequest), self.request.options
        found = []
        for number, choice in enumerate(self.choices):
            one: dict[str, Any] = {"index": number, "finish_reason": choice.finish_reason, "logprobs": None}
            if chat:
                one["message"] = message = _message(choice)
                if message.get("tool_calls") and choice.finish_reason == "stop":
                    one["finish_reason"] = "tool_calls"
            else:
                one["text"] = choice.text
            if options.logprobs:
                one["logprobs"] = _chat_logprobs(choice) if chat else _text_logprobs(choice)
            if options.token_ids:
                one["token_ids"] = choice.ids
                if not chat:
                    one["prompt_token_ids"] = list(self.prompts[number // options.n])
            found.append(one)
        return found


def _message(choice: Choice) -> dict[str, Any]:
    said = choice.message
    message: dict[str, Any] = {"role": "assistant", "content": said["content"], "refusal": None}
    if "reasoning" in said:
        message["reasoning_content"] = said["reasoning"]
    if calls := said.get("tool_calls"):
        message["content"] = said["content"] or None
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {
                    "name": call["function"]["name"],
                    "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False),
                },
            }
            for call in calls
        ]
    return message


def _chat_pieces(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A choice as the pieces of a stream: what it says, then why it ended."""
    message = {key: value for key, value in choice.pop("message").items() if key != "refusal"}
    if calls := message.get("tool_calls"):
        message["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls)]
    finish = choice.pop("finish_reason")
    yield {**choice, "delta": message, "finish_reason": None}
    yield {"index": choice["index"], "delta": {}, "finish_reason": finish, "logprobs": None}


def _chat_logprobs(choice: Choice) -> dict[str, Any]:
    rows = [
        {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": []}
        for token, logprob in zip(choice.tokens, choice.logprobs or (), strict=True)
    ]
    return {"content": rows, "refusal": None}


def _text_logprobs(choice: Choice) -> dict[str, Any]:
    offsets, position = [], 0
    for token in choice.tokens:
        offsets.append(position)
        position += len(token)
    return {
        "tokens": list(choice.tokens),
        "token_logprobs": list(choice.logprobs or ()),
        "top_logprobs": None,
        "text_offset": offsets,
    }
