"""Did you mean: what is wrong with a configuration, in words, with the nearest valid key."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tenyson.config.patterns import EXAMPLES
from tenyson.errors import Problem

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails, PydanticCustomError

    from tenyson.config.document import Document, KeyPath

OTHER_NAMES = {
    "lr": "training.learning_rate",
    "num_train_epochs": "training.epochs",
    "num_epochs": "training.epochs",
    "per_device_train_batch_size": "training.batch_size",
    "lr_scheduler_type": "training.lr_scheduler",
    "max_seq_length": "training.max_length",
    "patience": "training.early_stopping_patience",
    "group_size": "training.num_generations",
    "kl_coef": "training.beta",
    "max_completion_length": "generation.max_new_tokens",
    "max_tokens": "generation.max_new_tokens",
    "model_name": "model.name",
    "model_name_or_path": "model.name",
    "lora": "peft",
    "lora_config": "peft",
    "vllm": "engine_args",
    "run_id": "run.id",
    "run_name": "run.id",
    "hub_model_id": "hub.repo_id",
}
"""What other tools call a key of ours."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that `name` most likely means; None if nothing is close."""
    plain = {_fold(candidate): candidate for candidate in valid}
    folded = _fold(name)
    if folded in plain:
        return plain[folded]
    matches = difflib.get_close_matches(folded, plain, n=1, cutoff=0.6)
    return plain[matches[0]] if matches else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A suggestion in words; empty where nothing is close."""
    match = nearest(name, valid)
    return f"did you mean {match}?" if match else ""


def keys(model: type[BaseModel], path: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    """Every key of a model with its path, sections before what is in them."""
    for name, info in model.model_fields.items():
        yield (*path, name), info
        section = info.annotation
        if isinstance(section, type) and hasattr(section, "model_fields"):
            yield from keys(section, (*path, name))


def takes_only_text(info: FieldInfo) -> bool:
    """Whether a key's value is text (or nothing)."""
    return _is_text(info.annotation)


def _is_text(annotation: Any) -> bool:
    origin: Any = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _is_text(arguments[0])
    if origin is typing.Literal:
        return all(isinstance(value, str) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return all(part is type(None) or _is_text(part) for part in arguments)
    return annotation is str


Suggest = Callable[["KeyPath", Any], str]
"""From an unknown key and its value to what was probably meant, in words."""


def problems(
    error: ValidationError,
    document: Document,
    model: type[BaseModel],
    prefix: KeyPath = (),
    suggest: Suggest | None = None,
) -> list[Problem]:
    """What pydantic found, in our words.

    Args:
        prefix: where the model's data lies in the document.
        suggest: what to say of an unknown key; by default the nearest key of the model.
    """
    known = {".".join((*prefix, *path)): info for path, info in keys(model)}
    return [
        _problem(detail, document, suggest or (lambda path, _: _suggest_key(path, known)), prefix)
        for detail in error.errors(include_url=False, include_context=True)
    ]


def explained(cause: str, suggestion: str = "") -> PydanticCustomError:
    """An error for a validator to raise, whose words are used as they are."""
    from pydantic_core import PydanticCustomError

    return PydanticCustomError(_EXPLAINED, "{cause}", {"cause": cause, "suggestion": suggestion})


_EXPLAINED = "explained"


def _problem(detail: ErrorDetails, document: Document, suggest: Suggest, prefix: KeyPath) -> Problem:
    path = (*prefix, *(str(part) for part in detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return document.problem(path, "unknown key", suggest(path, detail["input"]))
    if detail["type"] == _EXPLAINED:
        return document.problem(path, detail["ctx"]["cause"], detail["ctx"]["suggestion"])
    if detail["type"] == "missing":
        missing = "give model.name or model.factory" if path == ("model",) else ""
        return document.problem(path, "is missing", missing)
    cause = _cause(detail)
    raw = document.raw.get(path)
    value = detail["input"]
    if detail["type"] == "string_type" and raw is not None and value is not None:
        how = f"--set '{'.'.join(path)}=\"{raw}\"'" if path in document.origins else f'"{raw}"'
        return document.problem(
            path, f"{cause}: YAML reads a plain {raw:.40} like that", f"put it in quotes: {how}"
        )
    if detail["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
        return document.problem(path, cause, did_you_mean(str(value), choices))
    return document.problem(path, cause)


def _cause(detail: ErrorDetails) -> str:
    from tenyson.config.document import describe

    kind, value, context = detail["type"], describe(detail["input"]), detail.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    if kind == "finite_number":
        return "must be a finite number"
    expected = {
        "string_type": "expected text",
        "int_type": "expected a whole number",
        "int_parsing": "expected a whole number",
        "int_from_float": "expected a whole number",
        "float_type": "expected a number",
        "float_parsing": "expected a number",
        "bool_type": "expected true or false",
        "bool_parsing": "expected true or false",
        "dict_type": "expected a mapping",
        "model_type": "expected a mapping",
        "list_type": "expected a list",
        "literal_error": f"expected one of {context.get('expected')}",
        "string_pattern_mismatch": f"expected text of the form {EXAMPLES.get(str(context.get('pattern')), context.get('pattern'))}",
    }.get(kind)
    if expected:
        return f"{expected}, not {value}"
    bounds = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
    signs = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
    if kind in bounds:
        return f"must be {signs[bounds[kind]]} {context[bounds[kind]]}, not {value}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _suggest_key(path: KeyPath, known: Mapping[str, FieldInfo]) -> str:
    match = suggested_key(path, known)
    return f"did you mean {match}?" if match else ""


def suggested_key(path: KeyPath, known: Mapping[str, FieldInfo]) -> str | None:
    """The dotted key, in its own section or in another one, that an unknown one most likely means."""
    *section, name = path
    here = {key.split(".")[-1]: key for key in known if key.split(".")[:-1] == section}
    elsewhere = {key.split(".")[-1]: key for key in known if "." in key}
    exact = {_fold(leaf): key for leaf, key in (elsewhere | here).items()}.get(_fold(name))
    match = exact or (OTHER_NAMES.get(_fold(name)) if OTHER_NAMES.get(_fold(name)) in known else None)
    if not match:
        near = nearest(name, here)
        match = here[near] if near else None
    if not match:
        near = nearest(name, elsewhere)
        match = elsewhere[near] if near else None
    return match


def _fold(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
