"""JSON text of events: strict JSON, on one line, whatever floats and types the values hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenyson.telemetry.events import EVENT_VERSION, Event


def dumps(value: Any) -> str:
    """Compact strict JSON. NaN and infinities become strings that `float()` reads back."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"), default=_plain)


def event_text(event: Event, *, without: frozenset[str] = frozenset()) -> str:
    """One event as a JSON object: its class under "event", the version under "v", then its fields."""
    fields = {key: value for key, value in vars(event).items() if key not in without}
    return dumps({"event": type(event).__name__, "v": EVENT_VERSION, **fields})


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


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
