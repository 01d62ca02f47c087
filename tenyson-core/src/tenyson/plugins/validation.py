"""What an entry must load, by its kind: a plugin that registers something else is told so where it is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

METHODS: Mapping[str, tuple[str, ...]] = {
    "backend": (
        "validate",
        "estimate",
        "submit",
        "poll",
        "stream_logs",
        "fetch_outputs",
        "cancel",
        "terminate",
    ),
    "sink": ("write", "close"),
    "engine": ("generate", "close"),
}
"""What a class of that kind must have; a function that makes one is taken at its word."""
CHAT_ENGINE = ("reply", "report", "close")
"""Of an engine that takes messages instead of token ids."""


def kind_fault(kind: str, value: Any) -> str | None:
    """Why `value` cannot be used as a `kind`, in words that follow its name; None where it can."""
    if kind in _BASES:
        return _subclass_fault(value, *_BASES[kind])
    if kind not in METHODS and kind != "report_helper":
        return None
    if not callable(value):
        return f"is {value!r:.60}, which cannot be called"
    methods = CHAT_ENGINE if kind == "engine" and hasattr(value, "reply") else METHODS.get(kind, ())
    if inspect.isclass(value) and (lacks := [one for one in methods if not hasattr(value, one)]):
        return f"is no {kind}: the class {value.__name__} lacks {', '.join(lacks)}"
    return None


def _subclass_fault(value: Any, module: str, name: str) -> str | None:
    # By name: tasks and jobs are layers above plugins.
    bases = value.__mro__ if inspect.isclass(value) else ()
    if not any((base.__module__, base.__qualname__) == (module, name) for base in bases):
        return f"is no {name} subclass: {value!r:.60}"
    if inspect.isabstract(value):
        return f"is abstract: it lacks {', '.join(sorted(value.__abstractmethods__))}"
    return None


_BASES: Mapping[str, tuple[str, str]] = {
    "task": ("tenyson.tasks.plugin", "TaskPlugin"),
    "job": ("tenyson.jobs.job", "Job"),
}
"""Module and class that a class of that kind inherits from."""
