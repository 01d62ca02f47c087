"""A document: a configuration as plain JSON data that knows the line of every key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenyson.errors import ConfigError, Problem

MAX_DEPTH = 50
MAX_NODES = 50_000
"""Values in all, with every alias counted as often as it would be written out."""

KeyPath = tuple[str, ...]


@dataclass
class Document:
    """Plain data from a file or a mapping."""

    file: str
    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """1-based line of each key, by path."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong already, such as a duplicate key."""
    origins: dict[KeyPath, str] = field(default_factory=dict)
    """Where a key was set from, if not in the file: an override."""
    raw: dict[KeyPath, str] = field(default_factory=dict)
    """Text of plain scalars that YAML reads as something else than text."""
    part: str = ""
    """What errors call the part of the file that this is, where no line says it."""

    def problem(self, path: KeyPath, cause: str, suggestion: str = "") -> Problem:
        """A problem with the key at `path`, placed as near as it is known."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return Problem(cause, ".".join(path), self.origins[path[:length]], None, suggestion)
            if path[:length] in self.lines:
                return Problem(cause, ".".join(path), self.file, self.lines[path[:length]], suggestion)
        return Problem(cause, ".".join(path), self.part or self.file, None, suggestion)


def from_mapping(data: Mapping[str, Any], source: str) -> Document:
    """A document from data that was read elsewhere. Raises: ConfigError where it is no mapping or out of bounds."""
    if not isinstance(data, Mapping):
        raise ConfigError([whole(source, f"expected a mapping of sections, not {describe(data)}")])
    document = Document(source, {})
    document.data = _plain(data, (), document, [0])
    return document


def describe(value: Any) -> str:
    """A value in words, short enough for an error."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value!r:.40}"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 40 else f"a text of {len(value)} characters"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"an object of type {type(value).__name__}"


def whole(file: str, cause: str, suggestion: str = "", line: int | None = None) -> Problem:
    """A problem with a file as a whole, or with a line of it."""
    return Problem(cause, "", file, line, suggestion)


def _plain(value: Any, path: KeyPath, document: Document, count: list[int]) -> Any:
    count[0] += 1
    if len(path) > MAX_DEPTH or count[0] > MAX_NODES:
        bound = (
            f"nested deeper than {MAX_DEPTH} levels"
            if len(path) > MAX_DEPTH
            else f"more than {MAX_NODES} values"
        )
        raise ConfigError([whole(document.file, f"{'.'.join(path[:3])} ...: {bound}")])
    if isinstance(value, Mapping):
        result = {}
        for key, item in value.items():
            if not isinstance(key, str):
                document.problems.append(document.problem(path, f"a key must be text, not {describe(key)}"))
                continue
            result[key] = _plain(item, (*path, key), document, count)
        return result
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, str(index)), document, count) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        document.problems.append(document.problem(path, f"must be a finite number, not {value}"))
        return 0.0
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    document.problems.append(document.problem(path, f"must be a value that JSON has, not {describe(value)}"))
    return None
