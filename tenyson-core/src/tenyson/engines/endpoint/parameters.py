"""Reads the parameters of a request. One that would have no effect is refused by its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from tenyson.engines.endpoint.api_error import ApiError
from tenyson.engines.endpoint.messages import read_messages, read_tools
from tenyson.engines.endpoint.request import ChatRequest, CompletionRequest, Options
from tenyson.engines.engine import DRAWN
from tenyson.tasks.usercode import text_fault

MOST_REPLIES = 128
MOST_PROMPTS = 256
_LABELS = frozenset({"user", "safety_identifier", "prompt_cache_key"})
"""Say who asks, and change no reply."""
_NEUTRAL: Mapping[str, Collection[Any]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "tool_choice": ("auto", "none"),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "best_of": (1,),
    "echo": (False,),
}
"""Parameters that are understood in these values alone, which change nothing (`tool_choice: none` aside)."""
_NUMBERS: Mapping[str, tuple[type, Callable[[Any], bool], str]] = {
    "temperature": (float, lambda value: 0 <= value <= 2, "a number from 0 to 2"),
    "top_p": (float, lambda value: 0 < value <= 1, "a number above 0, up to 1"),
    "top_k": (int, lambda value: value >= 0, "a whole number from 0"),
    "min_p": (float, lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    "repetition_penalty": (float, lambda value: value > 0, "a number above 0"),
    "seed": (int, lambda value: abs(value) < 2**63, "a whole number of 64 bits"),
    "n": (int, lambda value: 1 <= value <= MOST_REPLIES, f"a whole number from 1 to {MOST_REPLIES}"),
    "max_tokens": (int, lambda value: value >= 1, "a whole number from 1"),
    "max_completion_tokens": (int, lambda value: value >= 1, "a whole number from 1"),
}
_SHARED = {
    *_LABELS,
    *_NUMBERS,
    "model",
    "stop",
    "stream",
    "stream_options",
    "logprobs",
    "return_token_ids",
    "metadata",
}
_CHAT = {"messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "modalities"}
_COMPLETION = {"prompt", "best_of", "echo"}
_BOTH = {"frequency_penalty", "presence_penalty", "logit_bias", "top_logprobs", "service_tier", "store"}


def read_chat(body: Mapping[str, Any]) -> ChatRequest:
    """A request for `/v1/chat/completions`. Raises: ApiError."""
    given = _known(body, _SHARED | _CHAT | _BOTH)
    tools = read_tools(given.get("tools"))
    options = _options(given, _flag(given, "logprobs"))
    messages = read_messages(given.get("messages"))
    return ChatRequest(_model(given), messages, options, tools, given.get("tool_choice") != "none")


def read_completion(body: Mapping[str, Any]) -> CompletionRequest:
    """A request for `/v1/completions`. Raises: ApiError."""
    given = _known(body, _SHARED | _COMPLETION | _BOTH)
    logprobs = given.get("logprobs")
    if logprobs not in (None, 0) or isinstance(logprobs, bool):
        raise ApiError("logprobs must be 0: only the token that was drawn is reported", param="logprobs")
    return CompletionRequest(
        _model(given), _prompts(given.get("prompt")), _options(given, logprobs is not None)
    )


def _known(body: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The parameters that are given. Raises: ApiError: one is unknown, or has a value that is not supported."""
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if name not in names:
            raise ApiError(
                f"Unsupported parameter: '{name}' would have no effect here",
                param=name,
                code="unsupported_parameter",
            )
        allowed = _NEUTRAL.get(name)
        if allowed is not None and not any(
            value == one and type(value) in (type(one), float) for one in allowed
        ):
            shown = " or ".join(map(repr, allowed))
            raise ApiError(
                f"Unsupported value: '{name}' must be {shown} here", param=name, code="unsupported_value"
            )
        if name in _NUMBERS:
            _check_number(name, value)
    return given


def _check_number(name: str, value: Any) -> None:
    kind, fits, words = _NUMBERS[name]
    right = isinstance(value, int) if kind is int else isinstance(value, (int, float))
    if isinstance(value, bool) or not right or not fits(value):
        raise ApiError(f"{name} must be {words}", param=name, code="invalid_value")


def _options(given: Mapping[str, Any], logprobs: bool) -> Options:
    limits = [given[name] for name in ("max_completion_tokens", "max_tokens") if name in given]
    if len(set(limits)) > 1:
        raise ApiError("max_tokens and max_completion_tokens differ", param="max_tokens")
    stream = _flag(given, "stream")
    return Options(
        n=given.get("n", 1),
        max_tokens=limits[0] if limits else None,
        drawn={name: given[name] for name in DRAWN if name in given},
        seed=given.get("seed"),
        stop=_stops(given.get("stop")),
        logprobs=logprobs,
        token_ids=_flag(given, "return_token_ids"),
        stream=stream,
        include_usage=_include_usage(given.get("stream_options"), stream),
        trained=_trained(given.get("metadata", {})),
    )


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise ApiError(f"{name} must be true or false", param=name, code="invalid_value")
    return value


def _include_usage(options: Any, stream: bool) -> bool:
    if options is None:
        return False
    if not stream:
        raise ApiError("stream_options is for streams only", param="stream_options")
    if not isinstance(options, Mapping) or set(options) - {"include_usage"}:
        raise ApiError("stream_options takes include_usage alone", param="stream_options")
    return _flag(options, "include_usage")


def _trained(metadata: Any) -> bool:
    """What `train` of the metadata says; its other names are the client's own. OpenAI takes texts alone as values."""
    if not isinstance(metadata, Mapping) or not all(isinstance(value, str) for value in metadata.values()):
        raise ApiError("metadata must be a mapping of texts", param="metadata", code="invalid_value")
    train = metadata.get("train", "true")
    if train not in ("true", "false"):
        raise ApiError('train must be "true" or "false"', param="metadata.train", code="invalid_value")
    return bool(train == "true")


def _stops(value: Any) -> tuple[str, ...]:
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or len(found) > 4 or any(text_fault(one) or not one for one in found):
        raise ApiError("stop must be a text, or up to four of them", param="stop", code="invalid_value")
    return tuple(found)


def _model(given: Mapping[str, Any]) -> str:
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError("model must be a text", param="model", code="invalid_value")
    return model


def _prompts(value: Any) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, list) and value and all(type(one) is int for one in value):
        value = [value]
    listed = value if isinstance(value, list) else [value]
    found: list[str | tuple[int, ...]] = []
    for one in listed:
        if isinstance(one, list) and one and all(type(token) is int and token >= 0 for token in one):
            found.append(tuple(one))
        elif text_fault(one) is None and one:
            found.append(one)
        else:
            raise ApiError("prompt must be text, token ids, or a list of either", param="prompt")
    if not 0 < len(found) <= MOST_PROMPTS:
        raise ApiError(f"prompt must be 1 to {MOST_PROMPTS} texts", param="prompt")
    return tuple(found)
