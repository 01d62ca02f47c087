"""What is wrong when a request fails, from what the openai package raises to an EndpointError."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tenyson.core.sanitize import one_line
from tenyson.errors import EndpointError

Fault = Literal[
    "connection",
    "timeout",
    "rate_limit",
    "server",
    "answer",
    "key",
    "model",
    "url",
    "quota",
    "budget",
    "context",
    "request",
]
"""What failed. `connection` to `answer` were tried again before; `context` and `request` are about the one request."""
WIDTH = 300
"""Characters that are told of an endpoint's own words."""
PASSING = frozenset({"connection", "timeout", "rate_limit", "server", "answer"})
"""Faults that may pass, so that a request is repeated."""


@dataclass(frozen=True)
class Asked:
    """Whom a request was for."""

    url: str
    model: str
    api_key_env: str | None
    key: str | None

    def error(self, kind: Fault, cause: str, next_step: str | None = None) -> EndpointError:
        """An error about this endpoint, without its key."""
        return EndpointError(self.hide(cause), kind=kind, place=self.url, next_step=next_step)

    def hide(self, text: str) -> str:
        """The text without the key: an endpoint may repeat what it was sent."""
        return text.replace(self.key, "***") if self.key else text


def explained(error: Exception, asked: Asked, seconds: float) -> EndpointError:
    """The error of one attempt, in words. `seconds`: the limit of an attempt."""
    import openai

    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return asked.error("timeout", f"no answer within {seconds:g} s", "Is the endpoint overloaded?")
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, asked)
    if isinstance(error, openai.APIConnectionError) or _of_transport(error):
        reason = one_line(str(error.__cause__ or error), WIDTH)
        cause = f"it cannot be reached: {reason}"
        return asked.error("connection", cause, "Is the server running, and are host and port right?")
    if isinstance(error, UnicodeError):
        return asked.error("request", f"the request cannot be written as UTF-8: {error}")
    if isinstance(error, openai.OpenAIError | ValueError | TypeError):
        return asked.error("request", f"{type(error).__name__}: {one_line(str(error), WIDTH)}")
    raise error


def _of_transport(error: Exception) -> bool:
    """Whether a connection broke while an answer was read, where the openai package lets its transport's errors through."""
    return isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore"))


def _of_status(error: Any, asked: Asked) -> EndpointError:
    status, said, code = error.status_code, _said(error), str(getattr(error, "code", None) or "")
    words = f" ({status}: {said})"
    if status in (401, 403) or (status == 400 and "api key" in said.lower()):
        if asked.api_key_env is None:
            step = "Name the environment variable that holds the key: endpoint.api_key_env, or api_key_env of a judge."
            return asked.error("key", f"it wants a key, and none was named{words}", step)
        cause = "the key may not do that" if status == 403 else "it refuses the key"
        return asked.error("key", f"{cause} in {asked.api_key_env}{words}", f"Check {asked.api_key_env}.")
    if status == 404 and ("model" in said.lower() or code == "model_not_found"):
        return asked.error("model", f"it has no model {asked.model!r}{words}", "Check the model's name.")
    if status in (404, 405):
        step = "Check the URL: it ends before /chat/completions, mostly in /v1."
        return asked.error("url", f"there is no chat endpoint at this URL{words}", step)
    if status == 402 or code == "insufficient_quota":
        return asked.error(
            "quota", f"the account has no money or quota left{words}", "Add some, then resume."
        )
    if status == 429:
        return asked.error("rate_limit", f"too many requests or tokens{words}", "Lower its concurrency.")
    if status in (408, 409) or status >= 500:
        return asked.error("server", f"the server fails{words}")
    if code == "context_length_exceeded" or "context length" in said.lower() or "context_length" in said:
        return asked.error("context", f"the conversation is longer than the model can read{words}")
    return asked.error(
        "request", f"it refuses the request{words}", "Check the parameters against its documentation."
    )


def _said(error: Any) -> str:
    """An endpoint's own words."""
    body = error.body
    found = body.get("message") or body.get("detail") or body.get("error") if isinstance(body, dict) else body
    return one_line(str(found or error.response.reason_phrase or "no words"), WIDTH)
