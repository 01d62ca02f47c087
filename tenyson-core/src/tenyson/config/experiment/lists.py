"""Lists in an experiment file that hold at least one item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenyson.config.document import describe
from tenyson.config.explain import explained


def some(what: str) -> Callable[[Any], list[Any]]:
    """A check that a value is a list of at least one `what`; it raises PydanticCustomError otherwise."""

    def check(value: Any) -> list[Any]:
        if isinstance(value, list) and value:
            return value
        given = "" if value == [] else f", not {describe(value)}"
        raise explained(f"must be a list of at least one {what}{given}")

    return check
