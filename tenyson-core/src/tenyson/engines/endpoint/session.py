"""A session: the requests of one rollout's agent, which wait here until the rollout takes them."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass, field

from tenyson.engines.endpoint.answer import Answer
from tenyson.engines.endpoint.api_error import ApiError
from tenyson.engines.endpoint.request import Request
from tenyson.engines.endpoint.responder import Line

_LOOK_SECONDS = 0.5
OVER = "this rollout is over: the model answers no further request of it"


@dataclass(eq=False)
class Pending:
    """A request that waits for its answer."""

    request: Request
    answer: Future[Answer] = field(default_factory=Future)
    withdrawn: bool = False
    """Whether its client has left."""

    def refuse(self, error: ApiError) -> None:
        """Answer with an error."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Session:
    """A responder whose requests are taken one by one, in the order in which they came."""

    def __init__(self, model: str) -> None:
        self.key = secrets.token_urlsafe(32)
        self.model = model
        self._lock = threading.Lock()
        self._waiting: deque[Pending] = deque()
        self._taken: Pending | None = None
        self._ended = self._closed = False
        self._news: Future[None] | None = None

    def answer(self, request: Request, line: Line) -> Answer:
        """Wait for the answer. Raises: ApiError: it is refused, or the rollout is over."""
        pending = Pending(request)
        with self._lock:
            if self._closed or self._ended:
                raise ApiError(OVER, status=404, code="rollout_over")
            self._waiting.append(pending)
            self._tell()
        while True:
            try:
                return pending.answer.result(_LOOK_SECONDS)
            except TimeoutError:
                if line.cut:
                    pending.withdrawn = True
                    raise ConnectionError from None

    async def next(self) -> Pending | None:
        """The next request, waited for; None once the agent has ended."""
        while True:
            with self._lock:
                self._taken = None
                while self._waiting:
                    pending = self._waiting.popleft()
                    if not pending.withdrawn:
                        self._taken = pending
                        return pending
                if self._ended:
                    return None
                news: Future[None] = Future()
                self._news = news
            await asyncio.wrap_future(news)

    def end(self) -> None:
        """The agent has ended; what it has left behind is refused."""
        with self._lock:
            self._ended = True
            self._refuse_all()
            self._tell()

    def close(self) -> None:
        """Refuse whatever waits or comes."""
        with self._lock:
            self._closed = True
            self._refuse_all()
            if self._taken is not None:
                self._taken.refuse(ApiError(OVER, status=404, code="rollout_over"))

    def _refuse_all(self) -> None:
        while self._waiting:
            self._waiting.popleft().refuse(ApiError(OVER, status=404, code="rollout_over"))

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and news.set_running_or_notify_cancel():
            news.set_result(None)
