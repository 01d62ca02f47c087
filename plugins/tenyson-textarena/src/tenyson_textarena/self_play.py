"""Self-play: the model sits at both seats of a game, each with a conversation of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tenyson.errors import TaskError
from tenyson.tasks import Endpoint, Message
from tenyson_textarena.setup import Setup
from tenyson_textarena.worker.client import worker


def play_itself(
    setup: Setup, instruction: Sequence[Message], read: Callable[[str], str], endpoint: Endpoint
) -> dict[str, Any]:
    """Play one game. Nothing is learnt from the replies of the seat that is not `setup.seat`.

    Args:
        instruction: begins both conversations.
        read: what the game gets of a reply.

    Returns: the outcome, seen from `setup.seat`.

    Raises: TaskError: the game failed, or the endpoint refuses a request.
    """
    seats = list(instruction), list(instruction)
    moves: list[str] = []
    found = worker().begin(setup)
    key = found["key"]
    try:
        while found["over"] is None:
            messages = seats[found["turn"]]
            messages.append({"role": "user", "content": found["text"]})
            messages.append(_reply(endpoint, messages, trained=found["turn"] == setup.seat))
            moves.append(read(messages[-1]["content"]))
            found = worker().step(key, setup, moves)
    finally:
        worker().close(key)
    return {"game": setup.game, "seat": setup.seat, **found["over"]}


def _reply(endpoint: Endpoint, messages: Sequence[Message], *, trained: bool) -> Message:
    """The model's reply. Each rollout's endpoint is on this machine, so no more than HTTP is needed."""
    address = urlsplit(endpoint.base_url)
    connection = HTTPConnection(str(address.hostname), address.port)
    body: dict[str, Any] = {"model": endpoint.model, "messages": messages}
    if not trained:
        body["metadata"] = {"train": "false"}
    headers = {"Authorization": f"Bearer {endpoint.api_key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"{address.path}/chat/completions", json.dumps(body), headers)
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if "error" in answer:
        raise TaskError(f"the model does not answer: {answer['error']['message']}")
    message: Message = answer["choices"][0]["message"]
    return message
