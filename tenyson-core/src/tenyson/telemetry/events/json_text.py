"""JSON text of events: strict JSON, on one line, whatever floats and types the values hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import orjson

from tenyson.telemetry.events import Event, MetricsLogged, RolloutFinished


def dumps(value: Any) -> str:
    """Compact strict JSON. NaN and infinities become strings that `float()` reads back, odd keys become text."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
    except (ValueError, TypeError):
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"), default=_plain)


def event_text(event: Event, *, without: frozenset[str] = frozenset()) -> str:
    """One event as a JSON object in ASCII: its class under "event", the version under "v", then its fields."""
    return dumps({key: value for key, value in vars(event).items() if key not in without})


def event_line(event: Event) -> bytes:
    """The same in UTF-8, by orjson: about 2 microseconds for a rollout of 1,800 characters."""
    fields = event.__dict__
    # orjson would write NaN as null; what it refuses (half surrogates, large integers, odd keys) goes the slow way too.
    if not _holds_odd(event, fields):
        try:
            return orjson.dumps(fields, default=_plain_or_refuse)
        except TypeError:
            pass
    return event_text(event).encode("ascii")


def read_lines(lines: bytes) -> list[dict[str, Any]]:
    """The fields of each event, as any database takes them: NUL characters and half surrogates are replaced.

    A line that is no JSON object becomes an empty one.
    """
    each = lines.split(b"\n")
    if rb"\u0000" not in lines:
        try:
            found: list[Any] = list(map(orjson.loads, each))
        except ValueError:
            pass
        else:
            if all(one.__class__ is dict for one in found):
                return found
    return list(map(_read_line, each))


def _read_line(line: bytes) -> dict[str, Any]:
    try:
        try:
            fields = orjson.loads(line)
            fields = _clean(fields) if rb"\u0000" in line else fields
        except ValueError:
            fields = _clean(json.loads(line))
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _holds_odd(event: Event, fields: Mapping[str, Any]) -> bool:
    # The two kinds that come by the thousand: only their numbers can be odd, and then so is the sum of them.
    try:
        if event.__class__ is MetricsLogged:
            return not isfinite(sum(fields["values"].values()))
        if event.__class__ is RolloutFinished:
            numbers = (fields["reward"] or 0.0) + (fields["advantage"] or 0.0)
            if not isfinite(sum(fields["components"].values(), numbers)):
                return True
            info = fields["info"]
            return bool(info) and _is_odd(info)
    except (TypeError, OverflowError):  # a component that is None, an integer that is no float
        pass
    return any(map(_is_odd, fields.values()))


def _is_odd(value: Any) -> bool:
    if value.__class__ is float:
        return bool(value - value != 0)
    if isinstance(value, (str, int)) or value is None:
        return False
    if isinstance(value, float):
        return value - value != 0
    if isinstance(value, Mapping):
        return any(map(_is_odd, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_is_odd, value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    # numpy and torch scalars; neither is imported here.
    item = getattr(value, "item", None)
    return _finite(item()) if callable(item) else str(value)


def _plain_or_refuse(value: Any) -> Any:
    plain = _plain(value)
    if _is_odd(plain):
        raise TypeError("not finite")
    return plain


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {_key(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _key(key: Any) -> Any:
    # An environment may count by (row, column), or by a number of numpy's.
    return key if key is None or isinstance(key, (str, bool, int)) else str(key)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
