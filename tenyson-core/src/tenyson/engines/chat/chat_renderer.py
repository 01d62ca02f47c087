"""ChatRenderer: a renderer for engines that take messages. Where others have token ids, it has the messages themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenyson.engines.chat.chat_engine import ChatReply
from tenyson.engines.chat.transcript import transcript
from tenyson.engines.renderers.parsed import Parsed
from tenyson.tasks.sample import Message, Sample


@dataclass(frozen=True)
class Offer:
    """Tools that the model may call, in the API's form."""

    tools: tuple[Mapping[str, Any], ...]


Piece = Offer | Message | ChatReply
"""A piece of a conversation: what the model may call, what it is told, and what it answers."""


class ChatRenderer:
    """The part of `Renderer` that plays rollouts, in pieces of a conversation."""

    def prompt_ids(self, sample: Sample) -> list[Piece]:
        """What comes before the first reply."""
        return [*([Offer(tuple(sample.tools))] if sample.tools else []), *sample.prompt]

    def parse(self, ids: Sequence[ChatReply], *, tools: bool) -> Parsed:
        """A reply in parts. Where no tools are offered, calls are text: nobody would answer them."""
        said = ids[0].said
        if tools or not said.tool_calls:
            return said
        calls = "\n".join(json.dumps(call["function"], ensure_ascii=False) for call in said.tool_calls)
        return replace(said, content="\n".join(filter(None, [said.content, calls])), tool_calls=[])

    def between(self, reply: Message, answers: Sequence[Message], *, ended: bool) -> list[Piece]:  # noqa: ARG002
        """What follows a reply: the answers to it."""
        return list(answers)

    def raw(self, ids: Sequence[Piece]) -> str:
        """The pieces as text to read, with roles."""
        messages, tools = conversation(ids)
        return transcript(messages, tools)

    def check_turns(self) -> None:
        """Conversations of several turns can always be held."""


def conversation(pieces: Sequence[Piece]) -> tuple[list[Message], Sequence[Mapping[str, Any]]]:
    """The messages among the pieces of a conversation, and the tools that are offered in it."""
    messages: list[Message] = []
    tools: Sequence[Mapping[str, Any]] = ()
    for piece in pieces:
        if isinstance(piece, Offer):
            tools = piece.tools
        elif isinstance(piece, ChatReply):
            messages.append(piece.said.message)
        else:
            messages.append(piece)
    return messages, tools
