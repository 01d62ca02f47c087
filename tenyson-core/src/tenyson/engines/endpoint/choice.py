"""A choice: one reply of the model as a request gets it, cut where the request wants it to end."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

from tenyson.engines.endpoint.request import ChatRequest, Request
from tenyson.engines.engine import Reply
from tenyson.engines.renderers import Renderer
from tenyson.tasks.sample import Message


@dataclass(frozen=True)
class Choice:
    """One reply."""

    ids: list[int]
    """What the model wrote, up to where the reply ends."""
    logprobs: list[float] | None
    """Of each id, in nats; None where the engine reports none."""
    finish_reason: Literal["stop", "length"]
    ended: bool
    """Whether a stop token is its last id."""
    message: Message
    """What the client is told, with an id for each call."""
    text: str
    """What the client is told where it asked for text."""
    unreadable: bool = False
    """Whether something in it begins like a call and cannot be read as one."""
    tokens: tuple[str, ...] = ()
    """Text of each id, where log-probabilities are wanted."""
    trained: bool = True
    """Whether training learns from it."""


def choose(reply: Reply, request: Request, renderer: Renderer, *, most: int | None, name: str) -> Choice:
    """The choice that a reply comes to.

    Args:
        most: tokens of the choice at most, where the engine may have written more.
        name: begins the ids of its calls: seven letters and digits, since some templates take ids of nine alone.
    """
    options = request.options
    ids, finish = reply.ids, reply.finish_reason
    if most is not None and len(ids) > most:
        ids, finish = ids[:most], "length"
    ids, stop = _until(ids, options.stop, renderer)
    ended = stop is None and finish == "stop"
    chat = isinstance(request, ChatRequest)
    reads = isinstance(request, ChatRequest) and bool(request.tools) and request.reads_calls
    said = renderer.parse(ids, tools=reads)
    message = said.message
    text = "" if chat else renderer.parse(ids).content
    if stop is not None:
        finish = "stop"
        message["content"] = message["content"].partition(stop)[0]
        text = text.partition(stop)[0]
    for number, call in enumerate(message.get("tool_calls", ())):
        call["id"] = f"{name}{number:02}"
    tokens = tuple(renderer.raw([one]) for one in ids) if options.logprobs else ()
    logprobs = None if reply.logprobs is None else reply.logprobs[: len(ids)]
    return Choice(ids, logprobs, finish, ended, message, text, said.unreadable, tokens, options.trained)


def _until(ids: list[int], stops: tuple[str, ...], renderer: Renderer) -> tuple[list[int], str | None]:
    """The ids up to the one that completes the first of the texts in `stops`, and that text."""
    text = renderer.raw(ids)
    found = [one for one in stops if one in text]
    if not found:
        return ids, None
    stop = min(found, key=text.index)
    length = bisect_left(range(len(ids)), True, key=lambda last: stop in renderer.raw(ids[: last + 1]))
    return ids[: length + 1], stop
