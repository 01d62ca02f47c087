"""Strict JSON for files: what is not finite becomes null, a list says which values those were, and reading puts them back.

JSON has no NaN. A file that holds one is refused by jq, browsers and databases, and the one number that somebody looks for
makes the whole file unreadable. Events and columns of databases have texts instead (`tenyson.telemetry.events.json_text`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tenyson.core.destination import is_special, open_destination
from tenyson.core.files.atomic import write_text

NOT_FINITE = "not_finite"
"""The key that lists them: {"metrics.loss": "NaN"}; the names are the paths to the nulls."""

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Names = dict[str, str]


def dumps(
    value: Any,
    *,
    indent: int | None = None,
    sort_keys: bool = False,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """JSON text. A mapping at the top gets the list under "not_finite", where anything was not finite.

    Args:
        default: makes plain data of what is none, as for `json.dumps`; see `plain`.

    Raises:
        TypeError: something is no plain data, and there is no `default`.
    """
    try:
        return json.dumps(value, allow_nan=False, indent=indent, sort_keys=sort_keys, default=default)
    except (ValueError, TypeError):
        names: Names = {}
        finite = _separate(value, "", names, default)
    if names and isinstance(finite, dict):
        before = finite.get(NOT_FINITE)
        finite[NOT_FINITE] = {**before, **names} if isinstance(before, dict) else names
    return json.dumps(finite, allow_nan=False, indent=indent, sort_keys=sort_keys)


def separate(value: Any) -> tuple[Any, Names]:
    """Plain data with null for what is not finite, and the names of that."""
    names: Names = {}
    return _separate(value, "", names, plain), names


def restore(value: Any, names: Any = None) -> Any:
    """Put back what `dumps` or `separate` took out. `names`: where the list lies elsewhere; by default in the value itself."""
    if names is None and isinstance(value, dict):
        value = dict(value)
        names = value.pop(NOT_FINITE, None)
    if not isinstance(names, Mapping) or not names:
        return value
    return _restore(value, "", names)


def write(path: Path, value: Any, *, indent: int | None = 2, sort_keys: bool = True) -> None:
    """Write a file of JSON, replacing it in one move; the target, where `path` is a link, and never a device or a fifo."""
    if is_special(path):
        with open_destination(path) as file:
            file.write((dumps(value, indent=indent, sort_keys=sort_keys, default=plain) + "\n").encode())
        return
    text = dumps(value, indent=indent, sort_keys=sort_keys, default=plain)
    write_text(path.resolve(), text + "\n")


def plain(value: Any) -> Any:
    """Plain data for what JSON does not know: sets, paths, numbers and arrays of numpy and torch; else its text."""
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, type):
        for name in ("tolist", "item"):
            if callable(method := getattr(value, name, None)):
                return method()
    return str(value)


def number(value: Any) -> Any:
    """A number that a database keeps as text becomes a float again; anything else stays as it is."""
    return _WORDS.get(value, value) if isinstance(value, str) else value


def _separate(value: Any, path: str, names: Names, default: Callable[[Any], Any] | None) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        names[path] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return None
    if isinstance(value, dict):
        return {
            (name := _key(key)): _separate(item, _under(path, name), names, default)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_separate(item, _under(path, str(index)), names, default) for index, item in enumerate(value)]
    if default is None:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return _separate(default(value), path, names, default)


def _under(path: str, name: str) -> str:
    # A dot in a key is no step down.
    name = name.replace(".", "\\.")
    return f"{path}.{name}" if path else name


def _key(key: Any) -> str:
    # As json.dumps writes them, and what it refuses (a pair, a number of numpy's) as text.
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key)


def _restore(value: Any, path: str, names: Mapping[str, Any]) -> Any:
    if value is None:
        return number(names[path]) if path in names else None
    if isinstance(value, dict):
        return {key: _restore(item, _under(path, key), names) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore(item, _under(path, str(index)), names) for index, item in enumerate(value)]
    return value
