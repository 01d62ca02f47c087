"""What answers the requests of one base URL, and the connection that each comes by."""

from __future__ import annotations

import select
import socket
from typing import Protocol

from tenyson.engines.endpoint.answer import Answer
from tenyson.engines.endpoint.request import Request


class Line:
    """The connection that a request came by."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @property
    def cut(self) -> bool:
        """Whether the client has left."""
        try:
            waiting = select.poll()
            waiting.register(self._connection, select.POLLIN)
            return bool(waiting.poll(0)) and self._connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True


class Responder(Protocol):
    """What answers the requests of one base URL."""

    key: str
    """What a client has to know."""
    model: str
    """The name under which the model is listed."""

    def answer(self, request: Request, line: Line) -> Answer:
        """Wait for the replies to a request; called in a thread of its own. Raises: ApiError."""
