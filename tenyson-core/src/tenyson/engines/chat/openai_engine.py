"""The engine `openai`: a model behind an OpenAI-compatible endpoint, served by anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tenyson.core.chat.answer import ChatAnswer
from tenyson.core.chat.client import ChatClient
from tenyson.core.chat.usage import Prices
from tenyson.engines.chat.chat_engine import ChatReply
from tenyson.engines.engine import EngineSpec, Sampling
from tenyson.engines.renderers.parsed import Parsed
from tenyson.errors import ConfigError, EndpointError
from tenyson.tasks.sample import Message

if TYPE_CHECKING:
    from tenyson.config.schema import EndpointConfig

PROBE: list[Message] = [{"role": "user", "content": "Say OK."}]
PROBE_TOKENS = 16
"""Tokens of the reply to a probe: some endpoints take no smaller limit."""


class OpenAIEngine:
    """Asks the endpoint that `EngineSpec.endpoint` describes.

    Raises:
        ConfigError: the configuration names no URL.
        MissingDependencyError: the openai package is not installed.
        EndpointError: there is no key.
    """

    name = "openai"

    def __init__(self, spec: EngineSpec) -> None:
        settings = spec.endpoint
        if settings is None or settings.url is None:
            raise ConfigError("generation.engine: openai needs endpoint.url")
        self.concurrency = settings.concurrency
        self._settings, self._args = settings, spec.args
        self._versions: set[str] = set()
        self._client = ChatClient(
            settings.url,
            spec.model,
            settings.api_key_env,
            prices=_prices(settings),
            concurrency=settings.concurrency,
            requests_per_minute=settings.requests_per_minute,
            seconds=settings.seconds,
            retry_seconds=settings.retry_seconds,
            needed_for="generation.engine: openai",
        )

    def reply(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], sampling: Sampling
    ) -> Future[ChatReply]:
        """Ask for the next message."""
        answered: Future[ChatReply] = Future()
        if (error := self._over_budget()) is not None:
            answered.set_exception(error)
            return answered
        asked = self._client.submit(messages, tools=tools, **self._parameters(sampling), **self._args)
        # Who gives the reply up gives the request up.
        answered.add_done_callback(lambda one: asked.cancel() if one.cancelled() else None)
        asked.add_done_callback(lambda one: self._hand_over(one, answered, sampling))
        return answered

    def tell(self, say: Callable[[str], None]) -> None:
        """Have long pauses told."""
        self._client.say = say

    def probe(self, sampling: Sampling, heed: Callable[[], None] = lambda: None) -> ChatAnswer:
        """Ask something tiny with the parameters of all requests, to see that key, URL, model and parameters are right.

        Args:
            heed: called each half second while there is no answer; what it raises ends the wait.

        Raises: EndpointError.
        """
        parameters = self._parameters(sampling) | {self._settings.limit_parameter: PROBE_TOKENS}
        asked = self._client.submit(PROBE, **parameters, **self._args)
        while not asked.done():
            heed()
            wait([asked], timeout=0.5)
        try:
            answer = asked.result()
        except EndpointError as error:
            if error.kind == "model" and (names := self._client.models()):
                error.next_step = f"It has {', '.join(sorted(names)[:20])}."
            if error.kind == "request":
                error.next_step = (
                    "Leave what it does not take out of endpoint.parameters or engine_args; endpoint.limit_parameter names the "
                    "limit of tokens."
                )
            raise
        self._versions |= {answer.model} if answer.model else set()
        return answer

    def report(self) -> dict[str, Any]:
        """Requests, tokens and cost so far, and what the endpoint says has answered."""
        found = asdict(self._client.totals)
        found["cost_usd"] = found.pop("cost")
        return {
            "url": self._client.url,
            "model": self._client.model,
            "versions": sorted(self._versions),
            **found,
        }

    def close(self) -> None:
        """Give up what is under way."""
        self._client.close()

    def _parameters(self, sampling: Sampling) -> dict[str, Any]:
        drawn: dict[str, Any] = {name: getattr(sampling, name) for name in self._settings.parameters}
        if "seed" in drawn:
            drawn["seed"] %= 2**31  # some servers have no room for more
        return {self._settings.limit_parameter: sampling.max_new_tokens, **drawn}

    def _over_budget(self) -> EndpointError | None:
        budget, totals = self._settings.budget_usd, self._client.totals
        if budget is None:
            return None
        if totals.uncounted:
            cause = "endpoint.budget_usd cannot be kept: the endpoint reports no tokens"
            return EndpointError(cause, kind="budget", place=self._client.url, next_step="Leave it out.")
        if (totals.cost or 0.0) < budget:
            return None
        cause = f"its answers have cost {totals.cost:.4f} US dollars, and endpoint.budget_usd is {budget:g}"
        return EndpointError(
            cause,
            kind="budget",
            place=self._client.url,
            next_step="results.json keeps what was measured. Raise the budget, or lower evaluation.samples.",
        )

    def _hand_over(self, asked: Future[ChatAnswer], answered: Future[ChatReply], sampling: Sampling) -> None:
        if asked.cancelled() or not answered.set_running_or_notify_cancel():
            answered.cancel()
            return
        error = asked.exception()
        if error is not None:
            answered.set_exception(error)
            return
        answer = asked.result()
        if answer.model is not None:
            self._versions.add(answer.model)
        if (answer.completion_tokens or 0) > sampling.max_new_tokens:
            other = (
                "max_tokens" if self._settings.limit_parameter != "max_tokens" else "max_completion_tokens"
            )
            cause = (
                f"it wrote {answer.completion_tokens} tokens, and {self._settings.limit_parameter} was {sampling.max_new_tokens}: "
                "the endpoint ignores that limit"
            )
            step = f"Set endpoint.limit_parameter: {other}."
            answered.set_exception(EndpointError(cause, kind="url", place=self._client.url, next_step=step))
            return
        answered.set_result(_reply(answer))


def _reply(answer: ChatAnswer) -> ChatReply:
    # A call that cannot be read stays in the text, as with models whose tokens are known.
    content = "\n".join(filter(None, [answer.text, *answer.unreadable]))
    said = Parsed(content, answer.reasoning, answer.tool_calls, unreadable=bool(answer.unreadable))
    return ChatReply(
        said,
        finish_reason="length" if answer.finish_reason == "length" else "stop",
        prompt_tokens=answer.prompt_tokens or 0,
        completion_tokens=answer.completion_tokens or 0,
        cost_usd=answer.cost,
        filtered=answer.finish_reason == "content_filter",
    )


def _prices(settings: EndpointConfig) -> Prices | None:
    if settings.prompt_usd is None or settings.completion_usd is None:
        return None
    return Prices(settings.prompt_usd, settings.completion_usd, settings.cached_prompt_usd)
