"""Overrides: `--set training.learning_rate=1e-4`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from tenyson.config.document import Document, KeyPath
from tenyson.config.explain import keys, takes_only_text
from tenyson.config.reading import build
from tenyson.config.schema import Config
from tenyson.config.shape import is_utf8
from tenyson.config.yamltext import Loader
from tenyson.errors import Problem

ORIGIN = "--set"


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Put overrides into a document's data; what cannot be read as one becomes a problem of the document."""
    text_keys = {path for path, info in keys(Config) if takes_only_text(info)}
    for override in overrides:
        name, separator, text = override.partition("=")
        path = tuple(part.strip() for part in name.split("."))
        if not separator or not all(path):
            document.problems.append(
                Problem(f"cannot read {override!r:.60}", file=ORIGIN, suggestion="write section.key=value")
            )
            continue
        if not is_utf8(override):
            document.problems.append(Problem(f"{override!r:.60} is not UTF-8 text", file=ORIGIN))
            continue
        document.origins[path] = ORIGIN
        # A shell has eaten the quotes, so `--set run.id=007` or `=no` can only mean text where a text is expected.
        value = _text(text) if path in text_keys else _value(text, path, document)
        _put(document, path, value)


def _text(text: str) -> str | None:
    if text.strip() in ("", "null", "~"):
        return None
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _value(text: str, path: KeyPath, document: Document) -> Any:
    try:
        node = yaml.compose(text, Loader)
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        document.problems.append(document.problem(path, f"not valid YAML: {reason}"))
        return None
    return None if node is None else build(node, path, document)


def _put(document: Document, path: KeyPath, value: Any) -> None:
    place = document.data
    for depth, part in enumerate(path[:-1], start=1):
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            document.problems.append(
                document.problem(path, f"cannot be set: {'.'.join(path[:depth])} is not a mapping")
            )
            return
    place[path[-1]] = value
