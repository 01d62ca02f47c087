"""JSON schemas of tools: from a signature and a docstring, and how a call's arguments are checked against one."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from tenyson.errors import MissingDependencyError, TaskError
from tenyson.tasks.tools.error import ToolError
from tenyson.tasks.usercode import shown

if TYPE_CHECKING:
    from pydantic import BaseModel

_FAULTS = 5
"""Faults of a call that the model is told."""
_ELSEWHERE = ("$ref", "allOf", "anyOf", "oneOf")
"""Keys of a schema that may name further properties."""


def require_libraries() -> None:
    """Raises: MissingDependencyError: the extra is not installed."""
    for module, name in (("docstring_parser", "docstring-parser"), ("jsonschema", "jsonschema")):
        if find_spec(module) is None:
            raise MissingDependencyError(name, needed_for="a tool", install="tenyson-core[tools]")


def described(docstring: str) -> tuple[str, dict[str, str]]:
    """What a docstring says of a function, and of each of its arguments: in Google's, NumPy's, Sphinx's or Epydoc's style."""
    from docstring_parser import ParseError, parse

    try:
        found = parse(docstring)
    except ParseError:
        return docstring.strip(), {}
    texts = {one.arg_name: " ".join((one.description or "").split()) for one in found.params}
    parts = (found.short_description, found.long_description)
    return "\n\n".join(part for part in parts if part), texts


def model_of(name: str, function: Callable[..., Any], texts: Mapping[str, str]) -> type[BaseModel]:
    """A pydantic model of a function's arguments. Raises: TaskError."""
    from pydantic import ConfigDict, Field, create_model

    annotations = _hints(function)
    fields: dict[str, Any] = {}
    for one in inspect.signature(function).parameters.values():
        if one.kind in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL, one.VAR_KEYWORD):
            raise TaskError(
                f"the tool {name} takes {one}; a model passes every argument by its name",
                next_step="Write named arguments, or give a Tool with a schema of your own.",
            )
        default = ... if one.default is one.empty else one.default
        about = Field(default, description=texts.get(one.name) or None, alias=one.name)
        # Fields of a model may not begin with an underscore, nor be called as its own methods are.
        fields[f"argument_{one.name.strip('_')}_{len(fields)}"] = (annotations.get(one.name, Any), about)
    # A return annotation, too, may name what exists for type checkers alone; it is not needed.
    return create_model(name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields)


def parameters_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model, without the titles that pydantic makes of names: they would stand in every prompt."""
    from pydantic.json_schema import GenerateJsonSchema

    class Untitled(GenerateJsonSchema):
        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
            return False

    found = model.model_json_schema(schema_generator=Untitled)
    return {key: value for key, value in found.items() if key != "title"}


def check_parameters(name: str, parameters: Any, *, longest: int) -> None:
    """Raises: TaskError: they are no JSON schema of an object that a prompt can hold."""
    from jsonschema import Draft202012Validator, SchemaError

    what = f"the parameters of the tool {name}"
    next_step = 'Write {"type": "object", "properties": {...}, "required": [...]}.'
    if not isinstance(parameters, Mapping):
        raise TaskError(f"{what} are {shown(parameters)}, not a JSON schema", next_step=next_step)
    try:
        written = json.dumps(dict(parameters), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError(f"{what} cannot be written as JSON: {error}", next_step=next_step) from None
    if len(written) > longest:
        raise TaskError(f"{what} take {len(written):,} characters of every prompt; the limit is {longest:,}")
    if parameters.get("type", "object") != "object":
        raise TaskError(f"{what} describe a {parameters['type']!r}, not an object", next_step=next_step)
    try:
        Draft202012Validator.check_schema(json.loads(written))
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "its top"
        raise TaskError(f"{what} are no valid JSON schema: {error.message} (at {place})") from None
    _refuse_remote(parameters, what)


def validator(parameters: Mapping[str, Any]) -> Any:
    """What checks arguments against a schema."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(dict(parameters))


def by_schema(checks: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, once they fit. Raises: ToolError, which says what does not."""
    try:
        faults = [
            f"{'.'.join(map(str, one.absolute_path)) or 'arguments'}: {one.message[:200]}"
            for one in sorted(
                checks.iter_errors(dict(arguments)), key=lambda one: list(map(str, one.absolute_path))
            )
        ]
    except RecursionError:
        faults = ["arguments: nested too deeply"]
    if faults:
        raise ToolError("; ".join(faults[:_FAULTS]))
    return dict(arguments)


def by_model(model: type[BaseModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, converted to what the function's annotations say. Raises: ToolError."""
    from pydantic import ValidationError

    try:
        found = model.model_validate(dict(arguments))
    except (ValidationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise ToolError("arguments: nested too deeply") from None
        faults = [
            f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {_plainly(one)}"
            for one in error.errors(include_url=False)[:_FAULTS]
        ]
        raise ToolError("; ".join(faults)) from None
    # What the call leaves out is left to the function's own defaults.
    return {
        str(field.alias): getattr(found, name)
        for name, field in type(found).model_fields.items()
        if name in found.model_fields_set
    }


def require_accepted(signature: inspect.Signature | None, arguments: Mapping[str, Any]) -> None:
    """Raises: ToolError: a function of this signature cannot be called with them, although they fit its parameters."""
    if signature is None:
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ToolError(f"arguments: {error}") from None


def signature_faults(
    parameters: Mapping[str, Any], signature: inspect.Signature | None
) -> Iterator[tuple[Literal["error", "warning"], str]]:
    """Where parameters that were written by hand and a signature do not go together."""
    known = parameters.get("properties", {})
    if signature is None or not isinstance(known, Mapping) or any(key in parameters for key in _ELSEWHERE):
        return
    required = [name for name in parameters.get("required", ()) if name in known]
    if fault := _call_fault(signature, known):
        yield "error", f"called with the arguments that its parameters name: {fault}"
    elif fault := _call_fault(signature, required):
        yield "warning", f"called with the arguments that its parameters require: {fault}"


def _call_fault(signature: inspect.Signature, names: Iterable[str]) -> str | None:
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    return None


def _plainly(error: Any) -> str:
    kind = error["type"]
    if kind == "missing":
        return "required"
    if kind == "extra_forbidden":
        return "there is no such argument"
    return f"{error['msg']} (it is {shown(error['input'])})"


def _refuse_remote(parameters: Any, what: str) -> None:
    """A reference outside the schema would be fetched, or not found, in the middle of a rollout."""
    stack, seen = [parameters], 0
    while stack:
        one = stack.pop()
        seen += 1
        if isinstance(one, Mapping):
            reference = one.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#"):
                raise TaskError(
                    f"{what} refer to {reference}, outside the schema", next_step="Write it in $defs."
                )
            stack += list(one.values())
        elif isinstance(one, (list, tuple)):
            stack += list(one)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, those written as text resolved. Raises: NameError: one cannot be."""
    target = function if inspect.isroutine(function) else type(function).__call__
    return typing.get_type_hints(target, include_extras=True)
