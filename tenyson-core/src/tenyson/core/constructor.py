"""The arguments of a constructor by name, read off the call itself: whatever the constructor does with them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any


def constructor_arguments(cls: type[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, without defaults; only what is JSON, since nothing else travels to another machine.

    Empty where the constructor refuses them: Python says so itself, right afterwards.
    """
    try:
        signature = inspect.signature(cls.__init__)
        bound = signature.bind(None, *args, **kwargs)
    except (TypeError, ValueError):
        return {}
    named: dict[str, Any] = {}
    for name, parameter in list(signature.parameters.items())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(bound.arguments.get(name, {}))
        elif parameter.kind is not parameter.VAR_POSITIONAL and name in bound.arguments:
            named[name] = bound.arguments[name]
    return {name: value for name, value in named.items() if _is_json(value)}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
