"""ChatClient: a model behind an OpenAI-compatible endpoint, asked over the openai package."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tenyson.core.chat.answer import ChatAnswer, UnreadableAnswerError, read_answer
from tenyson.core.chat.backoff import Gate, exhausted, pause, retry_after
from tenyson.core.chat.failure import PASSING, Asked, explained
from tenyson.core.chat.usage import Prices, Totals
from tenyson.core.chat.wire import to_wire
from tenyson.errors import EndpointError, MissingDependencyError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LONGEST_BODY = 64 * 2**20
"""Bytes of a response that are read."""
TOLD_SECONDS, TOLD_EVERY = 5.0, 30.0
"""Pauses from this length on are told, and how often at most."""
UNREADABLE_ATTEMPTS = 3
"""Attempts whose answers are no chat completions: each may have cost money."""


class ChatClient:
    """A model behind an OpenAI-compatible endpoint. Any thread and any event loop may ask it; close it at the end.

    A request that fails for a reason that may pass (no connection, time-out, 408, 409, 429, 5xx, an answer that is none) is
    repeated, after the pause that the endpoint asks for, or else after one that doubles each time, until `retry_seconds` are
    over. A pause that the endpoint asks for, and a rate limit that its headers say is used up, hold all requests of the client.
    """

    def __init__(
        self,
        url: str,
        model: str,
        api_key_env: str | None = None,
        *,
        prices: Prices | None = None,
        concurrency: int | None = None,
        requests_per_minute: float | None = None,
        seconds: float = 120.0,
        retry_seconds: float = 300.0,
        needed_for: str = "a model behind an endpoint",
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: where the API begins, such as https://api.openai.com/v1 or http://localhost:8000/v1.
            model: its name there.
            api_key_env: NAME of the environment variable that holds the key; None where the endpoint wants none.
            prices: for `ChatAnswer.cost`; None: unknown.
            concurrency: most requests under way at once; None: as many as are asked for.
            requests_per_minute: most requests sent in a minute; None: no limit of ours.
            seconds: of one attempt.
            retry_seconds: of all attempts of one request, from the first failure to the last attempt's beginning.
            needed_for: what needs the openai package, for the message that it is missing.

        Raises:
            MissingDependencyError: the openai package is not installed.
            EndpointError: the variable is not set, or holds what can be no key.
        """
        if importlib.util.find_spec("openai") is None:
            raise MissingDependencyError("openai", needed_for=needed_for, install="tenyson-core[openai]")
        key = None if api_key_env is None else (os.environ.get(api_key_env) or "").strip()
        self.totals = Totals()
        self.say: Callable[[str], None] | None = None
        """Is told of long pauses, in the client's own thread."""
        self._told_at = -TOLD_EVERY
        self._asked = Asked(url.rstrip("/"), model, api_key_env, key)
        if api_key_env is not None and not key:
            cause = f"the environment variable {api_key_env} is not set, which shall hold the key"
            raise self._asked.error("key", cause, f"Set it: export {api_key_env}=...")
        if key and not (key.isascii() and key.isprintable()):
            raise EndpointError(f"what {api_key_env} holds can be no key", kind="key", place=url)
        self._prices, self._seconds, self._retry_seconds = prices, seconds, retry_seconds
        self._room: Any = asyncio.Semaphore(concurrency) if concurrency else nullcontext()
        self._gate = Gate(requests_per_minute)
        # Of its own: a task's random numbers must not depend on an endpoint's failures.
        self._dice = random.Random()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: AsyncOpenAI | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def model(self) -> str:
        """The model's name at the endpoint."""
        return self._asked.model

    @property
    def url(self) -> str:
        """Where the API begins."""
        return self._asked.url

    async def complete(
        self,
        messages: Iterable[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **sampling: Any,
    ) -> ChatAnswer:
        """Ask once for one answer.

        Args:
            messages: of Tenyson (`tenyson.tasks.sample.Message`) or of the API.
            tools: what the model may call, in the API's form.
            sampling: further parameters of the request, verbatim: temperature, max_completion_tokens, seed, response_format ...

        Raises:
            EndpointError: there is no answer; `kind` says why.
        """
        return await asyncio.wrap_future(self.submit(messages, tools=tools, **sampling))

    def submit(
        self,
        messages: Iterable[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **sampling: Any,
    ) -> Future[ChatAnswer]:
        """As `complete`, for threads without an event loop. Cancelling the future gives the request up."""
        body = {"messages": to_wire(messages), **({"tools": list(tools)} if tools else {}), **sampling}
        with self._lock:
            if self._closed:
                raise RuntimeError("the chat client is closed")
            loop = self._started()
            return asyncio.run_coroutine_threadsafe(self._answer(body), loop)

    def models(self) -> list[str]:
        """Names of the endpoint's models; empty where it does not tell."""
        with self._lock:
            loop = self._started()
        return asyncio.run_coroutine_threadsafe(self._models(), loop).result()

    def close(self) -> None:
        """Give up what is under way, close the connections and end the thread."""
        with self._lock:
            self._closed = True
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(self._end(), loop).add_done_callback(
                lambda _: loop.call_soon_threadsafe(loop.stop)
            )
            thread.join(timeout=5)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop,), name="tenyson-chat", daemon=True)
            self._thread.start()
        return self._loop

    async def _answer(self, body: dict[str, Any]) -> ChatAnswer:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with self._room:
                return await self._repeated(body)
        finally:
            self._tasks.discard(task)

    async def _repeated(self, body: dict[str, Any]) -> ChatAnswer:
        attempt, failed_first = 0, None
        while True:
            await self._gate.passed()
            try:
                return await self._once(body)
            except _FailedError as failed:
                error, asked_for = failed.error, failed.wait
            now = time.monotonic()
            failed_first = failed_first or now
            attempt += 1
            if error.kind not in PASSING or (error.kind == "answer" and attempt >= UNREADABLE_ATTEMPTS):
                raise error
            wait = asked_for if asked_for is not None else pause(attempt - 1, self._dice)
            if now + wait > failed_first + self._retry_seconds:
                told = f"; it asks to wait {wait:.0f} s" if asked_for is not None else ""
                times = "once" if attempt == 1 else f"{attempt} times in {now - failed_first:.0f} s"
                error.cause = f"{error.cause}; tried {times}{told}"
                raise error
            self.totals.retries += 1
            self._tell(error, wait)
            if asked_for is not None or error.kind == "rate_limit":
                self._gate.hold(wait)
            await asyncio.sleep(wait)

    def _tell(self, error: EndpointError, wait: float) -> None:
        now = time.monotonic()
        if self.say is None or wait < TOLD_SECONDS or now - self._told_at < TOLD_EVERY:
            return
        self._told_at = now
        self.say(f"{error.place}: {error.cause}; the next attempt is in {wait:.0f} s")

    async def _once(self, body: dict[str, Any]) -> ChatAnswer:
        """One attempt. Raises: _FailedError."""
        self.totals.requests += 1
        try:
            async with asyncio.timeout(self._seconds):
                answer = read_answer(await self._body(body))
        except UnreadableAnswerError as error:
            cause = f"what it answered is no chat completion: {error}"
            raise _FailedError(self._asked.error("answer", cause, "Check the URL.")) from None
        except Exception as error:
            headers = getattr(getattr(error, "response", None), "headers", {})
            found = explained(error, self._asked, self._seconds)
            self.totals.rate_limited += found.kind == "rate_limit"
            wait = retry_after(headers) if found.kind in ("rate_limit", "server") else None
            raise _FailedError(found, wait) from None
        cost = self._prices.cost(answer.usage) if self._prices else None
        self.totals.add(answer.usage, cost)
        return replace(answer, cost=cost)

    async def _body(self, body: dict[str, Any]) -> bytes:
        client, extra = self._opened()
        call = client.chat.completions.with_streaming_response.create(
            model=self._asked.model, messages=[], extra_body=body, extra_headers=extra
        )
        async with call as response:
            read = bytearray()
            async for piece in response.iter_bytes():
                read += piece
                if len(read) > LONGEST_BODY:
                    raise UnreadableAnswerError(f"it is longer than {LONGEST_BODY // 2**20} MiB")
            if (wait := exhausted(response.headers)) is not None:
                self._gate.hold(min(wait, self._retry_seconds))
        return bytes(read)

    async def _models(self) -> list[str]:
        import openai

        client, extra = self._opened()
        try:
            async with asyncio.timeout(min(self._seconds, 20)):
                page = await client.models.list(extra_headers=extra)
            return [str(one.id) for one in page.data]
        except (openai.OpenAIError, TimeoutError, ValueError, TypeError, AttributeError):
            return []

    def _opened(self) -> tuple[AsyncOpenAI, dict[str, Any]]:
        """The package's client, and headers of each request."""
        import openai

        if self._client is None:
            url, key = self._asked.url, self._asked.key
            self._client = openai.AsyncOpenAI(
                base_url=url, api_key=key or "none", max_retries=0, timeout=self._seconds
            )
            if not url.startswith("https://api.openai.com/"):
                # The package reads them from the environment, and they are nobody else's business.
                self._client.organization = self._client.project = None
        return self._client, {} if self._asked.key else {"Authorization": openai.Omit()}

    async def _end(self) -> None:
        tasks = list(self._tasks)
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()


class _FailedError(Exception):
    """One attempt failed."""

    def __init__(self, error: EndpointError, wait: float | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.wait = wait
        """Seconds that the endpoint asks to wait."""


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
