"""Answers requests with an engine: one thread generates, for all that ask at the time."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass, field, replace

from tenyson.engines.endpoint.answer import Answer
from tenyson.engines.endpoint.api_error import ApiError
from tenyson.engines.endpoint.choice import choose
from tenyson.engines.endpoint.request import ChatRequest, Request
from tenyson.engines.endpoint.responder import Line
from tenyson.engines.engine import ContinuousEngine, Engine, Reply, Sampling, request_seed
from tenyson.engines.renderers import Renderer
from tenyson.errors import ModelError
from tenyson.tasks.sample import Sample

CLOSING = "the endpoint is closing"
_LOOK_SECONDS = 0.2


@dataclass(eq=False)
class _Row:
    """One reply that is wanted."""

    prompt: list[int]
    sampling: Sampling
    """Its seed is the request's, or 0."""
    group: object
    """The request, where it has a seed: what is drawn beside it would change its own draws. None with others."""
    number: int
    """Which of its request's replies."""
    reply: Future[Reply] = field(default_factory=Future)


class ModelServer:
    """A responder whose replies come from an engine.

    Args:
        sampling: what holds where a request says nothing; its `max_new_tokens` too.
        context: tokens that the model can read at once; None where nobody knows.
        batch_size: most replies that are generated together.
        key: random if not given.
    """

    def __init__(
        self,
        engine: Engine,
        renderer: Renderer,
        sampling: Sampling,
        *,
        model: str,
        context: int | None = None,
        batch_size: int = 64,
        key: str = "",
    ) -> None:
        self.key = key or secrets.token_urlsafe(32)
        self.model = model
        self._engine, self._renderer, self._sampling = engine, renderer, sampling
        self._context, self._batch_size = context, batch_size
        self._lock = threading.Condition()
        # A tokenizer is used by one thread at a time.
        self._reading = threading.Lock()
        self._waiting: deque[_Row] = deque()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Replies that are asked for and not under way."""
        return len(self._waiting)

    def answer(self, request: Request, line: Line) -> Answer:
        """Wait for the replies to a request. Raises: ApiError."""
        if request.model != self.model:
            raise ApiError(
                f"The model '{request.model}' does not exist; this is '{self.model}'",
                status=404,
                param="model",
                code="model_not_found",
            )
        with self._reading:
            prompts = [self._prompt(request, one) for one in _texts(request)]
        rows = [row for prompt in prompts for row in self._rows(request, prompt)]
        with self._lock:
            if self._closed:
                raise ApiError(CLOSING, status=503)
            self._waiting.extend(rows)
            self._lock.notify()
        replies = [self._wait(row, rows, line) for row in rows]
        if request.options.logprobs and any(one.logprobs is None for one in replies):
            raise ApiError("this engine reports no log-probabilities", param="logprobs")
        with self._reading:
            choices = [
                choose(
                    reply,
                    request,
                    self._renderer,
                    most=row.sampling.max_new_tokens,
                    name=secrets.token_hex(4)[:7],
                )
                for row, reply in zip(rows, replies, strict=True)
            ]
        return Answer(request, prompts, choices)

    def run(self, between: Callable[[], bool]) -> None:
        """Generate until `between` says no; called often. What an engine raises ends it."""
        while between():
            with self._lock:
                if not self._waiting:
                    self._lock.wait(_LOOK_SECONDS)
                rows, self._waiting = list(self._waiting), deque()
            if isinstance(self._engine, ContinuousEngine):
                self._run_continuously(self._engine, rows, between)
            else:
                for batch in _batches(rows, self._batch_size):
                    self._generate(batch)

    def close(self) -> None:
        """Refuse what waits and what comes."""
        with self._lock:
            self._closed = True
            rows, self._waiting = list(self._waiting), deque()
        _fail(rows, CLOSING, 503)

    def _prompt(self, request: Request, text: str | Sequence[int]) -> list[int]:
        tokenizer = self._renderer.tokenizer
        try:
            if isinstance(request, ChatRequest):
                ids = self._renderer.prompt_ids(Sample("request", request.messages, tools=request.tools))
            elif isinstance(text, str):
                ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
            else:
                ids = list(text)
        except ModelError as error:
            raise ApiError(error.cause, param="messages") from None
        if ids and max(ids) >= len(tokenizer):
            raise ApiError(f"a token id is {max(ids)}; the vocabulary has {len(tokenizer)}", param="prompt")
        if not ids:
            raise ApiError("the prompt is empty", param="prompt")
        wanted = request.options.max_tokens or 1
        if self._context is not None and len(ids) + wanted > self._context:
            raise ApiError(
                f"This model's maximum context length is {self._context} tokens; the prompt has {len(ids)}, and {wanted} more are "
                "wanted",
                param="messages" if isinstance(request, ChatRequest) else "prompt",
                code="context_length_exceeded",
            )
        return ids

    def _rows(self, request: Request, prompt: list[int]) -> list[_Row]:
        options = request.options
        left = None if self._context is None else self._context - len(prompt)
        most = options.max_tokens or self._sampling.max_new_tokens
        sampling = replace(
            self._sampling,
            max_new_tokens=most if left is None else min(most, left),
            seed=0 if options.seed is None else options.seed % 2**32,
            logprobs=options.logprobs,
            **options.drawn,  # type: ignore[arg-type]
        )
        group = None if options.seed is None else object()
        return [_Row(prompt, sampling, group, number) for number in range(options.n)]

    def _wait(self, row: _Row, rows: list[_Row], line: Line) -> Reply:
        while True:
            try:
                return row.reply.result(_LOOK_SECONDS)
            except TimeoutError:
                if line.cut:
                    with self._lock:
                        self._waiting = deque(one for one in self._waiting if one not in rows)
                    raise ConnectionError from None

    def _generate(self, rows: list[_Row]) -> None:
        sampling = rows[0].sampling
        if rows[0].group is None:
            sampling = replace(sampling, seed=secrets.randbits(32))
        try:
            replies = self._engine.generate([row.prompt for row in rows], sampling)
        except BaseException as error:
            _fail(rows, f"the engine failed: {type(error).__name__}", 500)
            raise
        for row, reply in zip(rows, replies, strict=True):
            row.reply.set_result(reply)

    def _run_continuously(
        self, engine: ContinuousEngine, rows: list[_Row], between: Callable[[], bool]
    ) -> None:
        under_way: dict[int, _Row] = {}
        added = 0
        try:
            while (rows or under_way) and between():
                for row in rows:
                    seed = secrets.randbits(32) if row.group is None else row.sampling.seed
                    seeded = replace(row.sampling, seed=request_seed(seed, row.number))
                    engine.add(added, row.prompt, seeded)
                    under_way[added] = row
                    added += 1
                for key, reply in engine.finished():
                    under_way.pop(key).reply.set_result(reply)
                with self._lock:
                    rows, self._waiting = list(self._waiting), deque()
        except BaseException as error:
            engine.drop()
            _fail([*under_way.values(), *rows], f"the engine failed: {type(error).__name__}", 500)
            raise
        if under_way or rows:
            engine.drop()
            _fail([*under_way.values(), *rows], CLOSING, 503)


def _texts(request: Request) -> Sequence[str | Sequence[int]]:
    return ("",) if isinstance(request, ChatRequest) else request.prompts


def _batches(rows: Sequence[_Row], size: int) -> list[list[_Row]]:
    """Rows that one call of an engine can generate: those that are drawn alike."""
    groups: dict[tuple[Sampling, object], list[_Row]] = {}
    for row in rows:
        groups.setdefault((row.sampling, row.group), []).append(row)
    return [group[at : at + size] for group in groups.values() for at in range(0, len(group), size)]


def _fail(rows: Sequence[_Row], why: str, status: int) -> None:
    for row in rows:
        if not row.reply.done():
            row.reply.set_exception(ApiError(why, status=status))
