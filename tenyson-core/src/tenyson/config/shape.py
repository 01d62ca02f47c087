"""Shape: whether plain data, as JSON gives it, fits a dataclass or an annotation; each misfit in words, with its place.

For what was written by Tenyson once and may have been damaged since: rows of the journal, files of results.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from tenyson.config.document import describe

MAX_DEPTH = 100
"""Of JSON: what is nested deeper was not written by Tenyson, and would exhaust Python's stack."""


@dataclasses.dataclass(frozen=True)
class Damaged:
    """A value that could not be read from its column."""

    why: str


def read_json(value: Any) -> Any:
    """A JSON column of a database or a file, which may hold anything; never raises."""
    if value is None:
        return None
    if not isinstance(value, str):
        return Damaged(f"expected JSON, not {describe(value)}")
    try:
        data = json.loads(value)
    except ValueError:
        return Damaged(f"is no JSON: {value[:40]!r}")
    except RecursionError:
        return Damaged("is nested too deeply")
    return Damaged("is nested too deeply") if depth_of(data) > MAX_DEPTH else data


def shape_problems(
    data: Any, shape: Mapping[str, Any], place: str, *, required: bool = False
) -> Iterator[str]:
    """What keeps `data` from being a mapping with values of these types, by key; other keys do not matter."""
    if not isinstance(data, Mapping):
        yield f"{place}: {_not('a mapping', data)}"
        return
    for key, hint in shape.items():
        if key in data:
            yield from misfits(data[key], hint, f"{place}.{key}")
        elif required:
            yield f"{place}.{key}: is missing"


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def field_problems(data: Any, cls: type, place: str = "", *, partial: bool = False) -> Iterator[str]:
    """What keeps `data` from being the fields of the dataclass `cls`; with `partial`, some may be missing."""
    if not isinstance(data, Mapping):
        yield f"{place}: {_not('a mapping', data)}" if place else _not("a mapping", data)
        return
    hints = _hints(cls)
    for field in dataclasses.fields(cls):
        inside = f"{place}.{field.name}" if place else field.name
        if field.name in data:
            yield from misfits(data[field.name], hints[field.name], inside, partial=partial)
            if not place and isinstance(data[field.name], float) and not math.isfinite(data[field.name]):
                yield f"{inside}: expected a finite number, not {data[field.name]}"
        elif (
            not partial
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            yield f"{inside}: is missing"
    for key in data:
        if key not in hints:
            yield f"{place}.{key!s:.40}: this release of Tenyson does not know it"


def misfits(value: Any, hint: Any, place: str, *, partial: bool = False) -> Iterator[str]:
    """Why a value is not of a type as annotated."""
    if isinstance(value, Damaged):
        yield f"{place}: {value.why}"
        return
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return
    if origin in (typing.Union, types.UnionType):
        options = [one for one in arguments if one is not type(None)]
        if value is None and len(options) < len(arguments):
            return
        yield from min((list(misfits(value, one, place, partial=partial)) for one in options), key=len)
    elif origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            expected = f"one of {', '.join(map(str, arguments))}"
            yield f"{place}: {_not(expected, value)}"
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield from field_problems(value, hint, place, partial=partial)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            yield f"{place}: {_not('a mapping', value)}"
            return
        for key, item in value.items():
            yield from misfits(item, arguments[1], f"{place}.{key}")
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        if not isinstance(value, list | tuple):
            yield f"{place}: {_not('a list', value)}"
            return
        for index, item in enumerate(value):
            yield from misfits(item, arguments[0], f"{place}.{index}")
    elif not _is_of(value, hint):
        words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
        yield f"{place}: {_not(words.get(hint, str(hint)), value)}"


def _is_of(value: Any, hint: Any) -> bool:
    if hint is str:
        return isinstance(value, str) and is_utf8(value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True


def is_utf8(text: str) -> bool:
    """Whether it can be written; bytes of the command line that are no UTF-8 come as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not(expected: str, value: Any) -> str:
    return value.why if isinstance(value, Damaged) else f"expected {expected}, not {describe(value)}"


def depth_of(value: Any) -> int:
    """How deep lists and mappings are nested, at most one more than `MAX_DEPTH`."""
    deepest, level = 0, [value]
    while level and deepest <= MAX_DEPTH:
        deepest += 1
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
    return deepest
