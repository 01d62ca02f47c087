"""What an evaluation of a model behind a URL needs, and what would have no effect on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from tenyson.config.document import Document
    from tenyson.config.schema import Config
    from tenyson.errors import Problem
    from tenyson.plugins.job_kind import JobKind

ENGINE = "openai"
"""The engine of core that asks an endpoint."""
_OWN_FIELDS = {
    "model": "use model.name",
    "messages": "",
    "tools": "implement tools() of the task",
    "stream": "",
    "stream_options": "",
    "n": "use evaluation.samples_per_prompt",
    "max_tokens": "use generation.max_new_tokens and endpoint.limit_parameter",
    "max_completion_tokens": "use generation.max_new_tokens",
    "seed": "use run.seed",
    "functions": "implement tools() of the task",
}
"""Fields of a request that Tenyson sets itself, and what to use instead; those of sampling aside."""


def asks_endpoint(config: Mapping[str, Any]) -> bool:
    """Whether a configuration, as plain data, asks a model behind a URL: then `model.name` is no model of here."""
    generation = config.get("generation")
    return isinstance(generation, Mapping) and generation.get("engine") == ENGINE


def endpoint_problems(config: Config, kind: JobKind, document: Document) -> Iterator[Problem]:
    """What cannot work, or would have no effect, with `generation.engine: openai` and without it."""
    if config.generation.engine != ENGINE:
        if kind.reads("endpoint") and config.endpoint != type(config.endpoint)():
            cause = f"means nothing with generation.engine: {config.generation.engine}"
            yield dataclasses.replace(
                document.problem(("endpoint",), cause, f"read by {ENGINE}"), severity="warning"
            )
        return
    if kind.trains:
        yield document.problem(
            ("generation", "engine"),
            f"{ENGINE} asks a model behind a URL, whose weights cannot be trained from here",
            "use auto, vllm or transformers; evaluation jobs can ask endpoints",
        )
        return
    if config.endpoint.url is None:
        cause = f"is missing: generation.engine: {ENGINE} asks the model there"
        yield document.problem(("endpoint", "url"), cause, "such as http://localhost:8000/v1")
    yield from _model(config, document)
    yield from _sampling(config, document)
    own = _OWN_FIELDS | {name: f"use generation.{name}" for name in _sampling_defaults(config)}
    for name in config.engine_args:
        if name in own:
            yield document.problem(("engine_args", name), "is set by Tenyson itself", own[name])


def _model(config: Config, document: Document) -> Iterator[Problem]:
    if config.model.name is None:
        cause = "no model is built for an endpoint, which has its own"
        yield document.problem(("model", "factory"), cause, "give its name there as model.name")
    for key, info in type(config.model).model_fields.items():
        if key not in ("name", "factory", "factory_args") and getattr(config.model, key) != info.get_default(
            call_default_factory=True
        ):
            cause = "has no effect on a model behind a URL: whoever serves it decides that"
            yield document.problem(("model", key), cause, "leave it out")


def _sampling(config: Config, document: Document) -> Iterator[Problem]:
    for name, off in _sampling_defaults(config).items():
        if name not in config.endpoint.parameters and getattr(config.generation, name) != off:
            cause = "is not among endpoint.parameters, so the endpoint would not be told"
            hint = f"leave it out, or add {name} to endpoint.parameters if the endpoint takes it"
            yield document.problem(("generation", name), cause, hint)


def _sampling_defaults(config: Config) -> dict[str, Any]:
    """The parameters of `generation` that an endpoint may take, and the value at which each is off."""
    [names] = get_args(type(config.endpoint).model_fields["parameters"].annotation)
    known = type(config.generation).model_fields
    return {name: known[name].default for name in get_args(names) if name in known}
