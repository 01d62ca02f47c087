"""The conversations of one session: which earlier reply a request continues, and what the requests come to as trajectories.

A request that repeats a conversation up to a reply gets that reply's own ids, and only what follows it is rendered: nothing
that the model wrote is tokenized again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tenyson.engines.endpoint.api_error import ApiError
from tenyson.engines.endpoint.choice import Choice
from tenyson.engines.endpoint.messages import same_form
from tenyson.engines.endpoint.request import ChatRequest, Request
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.tokens import Tokens
from tenyson.errors import ModelError
from tenyson.tasks.sample import Message, Sample


@dataclass(eq=False)
class Node:
    """One reply, and what it follows."""

    prompt_ids: list[int]
    choice: Choice
    parent: Node | None
    """The reply that its request continues; None where the request begins a conversation."""
    bridge: list[int]
    """Ids between that reply and this one."""
    answers: Sequence[Message]
    """Messages between them."""
    said: tuple[str, ...]
    """The whole conversation, this reply included, in the form in which messages are compared."""
    opening: int
    """Messages before the conversation's first reply."""
    next: Node | None = None
    """The reply that continued this one first."""


@dataclass(frozen=True)
class Prompt:
    """What a request has the model read."""

    ids: list[int]
    key: str
    said: tuple[str, ...] = ()
    parent: Node | None = None
    bridge: list[int] = field(default_factory=list)
    answers: Sequence[Message] = ()
    opening: int = 0
    changed: str | None = None
    """What the client has changed in the history of a conversation, which begins again by that."""


@dataclass
class Conversation(Tokens):
    """One conversation, and what was said in it."""

    messages: list[Message] = field(default_factory=list)
    """What follows its prompt."""
    choices: list[Choice] = field(default_factory=list)
    """The model's replies."""

    @property
    def trained(self) -> bool:
        """Whether training learns from any of them."""
        return any(choice.trained for choice in self.choices)


class Conversations:
    """All replies of a session."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._nodes: list[Node] = []
        self._by_text: dict[tuple[str, tuple[str, ...], bool], Node] = {}

    def prompt_of(self, request: Request, text: str | tuple[int, ...] = "") -> Prompt:
        """The prompt of a request; `text`: of a completion, which of its prompts.

        Raises: ApiError: the chat template refuses it.
        """
        if not isinstance(request, ChatRequest):
            return self._text_prompt(text)
        key = json.dumps(request.tools, sort_keys=True)
        said = tuple(map(same_form, request.messages))
        for length in range(len(said) - 1, 0, -1):
            # Two players may have said the same so far.
            same, other = (
                self._by_text.get((key, said[:length], trained))
                for trained in (request.options.trained, not request.options.trained)
            )
            parent = same or other
            if parent is not None and (found := self._continued(request, key, said, length, parent)):
                return found
        try:
            ids = self._renderer.prompt_ids(Sample("request", request.messages, tools=request.tools))
        except ModelError as error:
            raise ApiError(error.cause, param="messages") from None
        return Prompt(ids, key, said, opening=len(said), changed=self._change(said))

    def add(self, prompt: Prompt, choice: Choice) -> None:
        """Note the reply to a prompt."""
        said = (*prompt.said, same_form(choice.message))
        node = Node(prompt.ids, choice, prompt.parent, prompt.bridge, prompt.answers, said, prompt.opening)
        self._nodes.append(node)
        if prompt.said:
            self._by_text[prompt.key, said, choice.trained] = node
        if node.parent is not None and node.parent.next is None:
            node.parent.next = node

    def all(self) -> list[Conversation]:
        """Every conversation, in the order in which they began. Each reply is in exactly one of them."""
        begun = [node for node in self._nodes if node.parent is None or node.parent.next is not node]
        return [_tokens(node) for node in begun]

    def _continued(
        self, request: ChatRequest, key: str, said: tuple[str, ...], length: int, parent: Node
    ) -> Prompt | None:
        """The prompt of a request that continues a reply; None where the template cannot continue it."""
        answers = request.messages[length:]
        if any(one["role"] not in ("user", "tool") for one in answers):
            return None
        try:
            bridge = self._renderer.between(parent.choice.message, answers, ended=parent.choice.ended)
        except ModelError:
            return None
        ids = parent.prompt_ids + parent.choice.ids + bridge
        return Prompt(ids, key, said, parent, bridge, answers, parent.opening)

    def _text_prompt(self, text: str | tuple[int, ...]) -> Prompt:
        if not isinstance(text, str):
            size = len(self._renderer.tokenizer)
            if max(text) >= size:
                raise ApiError(f"a token id is {max(text)}; the vocabulary has {size}", param="prompt")
            return Prompt(list(text), "")
        return Prompt(list(self._renderer.tokenizer(text, add_special_tokens=False)["input_ids"]), "")

    def _change(self, said: tuple[str, ...]) -> str | None:
        """How a request departs from a conversation that it repeats in part; None where it is one of its own."""
        best: tuple[int, Any] = (-1, None)
        for node in self._nodes:
            shared = next(
                (at for at, (one, other) in enumerate(zip(node.said, said, strict=False)) if one != other),
                min(len(node.said), len(said)),
            )
            repeats = any(
                one in said for one in node.said[node.opening :] if json.loads(one)[0] == "assistant"
            )
            departs = shared >= node.opening and len(said) > node.opening
            if (repeats or departs) and shared > best[0]:
                best = shared, node
        shared, node = best
        if node is None:
            return None
        if shared == len(node.said):
            return "the conversation is rendered again from its beginning: its tools or its template do not allow to continue it"
        if shared == len(said):
            return None  # an earlier request, asked again
        role = json.loads(node.said[shared])[0]
        return f"message {shared}, of the role {role}, is another one than before"


def _tokens(begin: Node) -> Conversation:
    found = Conversation(begin.prompt_ids, [], [], [])
    node: Node | None = begin
    while node is not None:
        choice = node.choice
        bridge = [] if node is begin else node.bridge
        found.messages += [] if node is begin else node.answers
        found.messages.append(choice.message)
        found.choices.append(choice)
        found.completion_ids += bridge + choice.ids
        found.mask += [0] * len(bridge) + [int(choice.trained)] * len(choice.ids)
        if found.logprobs is not None and choice.logprobs is not None:
            found.logprobs += [0.0] * len(bridge)
            found.logprobs += choice.logprobs if choice.trained else [0.0] * len(choice.ids)
        else:
            found.logprobs = None
        node = node.next
    return found
