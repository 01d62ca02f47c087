"""Checked events: whether fields of an event that came from elsewhere are what the event's class says.

A spool is written by the machine that ran the job, and a marked line of a log by whoever printed it: a text where a number
belongs would otherwise stop whoever reads it, at once or later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tenyson.plugins.job_kind import LONGEST_PHASE
from tenyson.telemetry.events.events import Event

MOST_INTEGER = (1 << 63) - 1
MOST_TIME = 1e11
"""Seconds since the epoch: the year 5138."""
MOST_DEPTH = 50
LONGEST_OUTCOME = 16
"""Of a call of a tool: letters that its column holds."""
MOST_VALUES = 10_000

_Check = Callable[[Any], bool]


def fault(event: Any, *, whole: bool = True) -> str | None:
    """What is wrong with an event's fields; None where nothing is. Kinds that nobody here knows are not looked into.

    `whole`: no field may be missing.
    """
    if event.__class__ is not dict:
        return "an event that has no fields"
    if not isinstance(kind := event.get("event"), str):
        return "an event that has no kind"
    if (whole or "run_id" in event) and not _is_text(event.get("run_id")):
        return f"{kind[:40]}: run_id"
    if (whole or "time" in event) and not _is_time(event.get("time")):
        return f"{kind[:40]}: time"
    if (fields := _KINDS.get(kind)) is None:
        return f"{kind[:40]}: its fields are nested too deep" if _is_deep(event) else None
    for name, (check, needed) in fields.items():
        value = event.get(name)
        if name not in event:
            if needed and whole:
                return f"{kind}: no {name}"
        elif not check(value):
            return f"{kind}: {name}"
    return None


def _is_text(value: Any) -> bool:
    return value.__class__ is str


def _is_text_or_none(value: Any) -> bool:
    return value is None or value.__class__ is str


def _is_flag(value: Any) -> bool:
    return value.__class__ is bool


def _is_count(value: Any) -> bool:
    return value.__class__ is int and 0 <= value <= MOST_INTEGER


def _is_count_or_none(value: Any) -> bool:
    return value is None or _is_count(value)


def _is_number(value: Any) -> bool:
    # NaN and infinities travel as text, since JSON has none. A reward may be a truth value.
    if value.__class__ is float or value.__class__ is bool:
        return True
    if value.__class__ is int:
        return -MOST_INTEGER <= value <= MOST_INTEGER
    return value in ("NaN", "Infinity", "-Infinity") if value.__class__ is str else False


def _is_number_or_none(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_time(value: Any) -> bool:
    return value.__class__ in (float, int) and 0 <= value <= MOST_TIME


def _is_phase(value: Any) -> bool:
    return value.__class__ is str and 0 < len(value) <= LONGEST_PHASE


def _is_outcome(value: Any) -> bool:
    return value.__class__ is str and 0 < len(value) <= LONGEST_OUTCOME


def _are_numbers(value: Any) -> bool:
    return value.__class__ is dict and len(value) <= MOST_VALUES and all(map(_is_number, value.values()))


def _are_numbers_or_none(value: Any) -> bool:
    return (
        value.__class__ is dict and len(value) <= MOST_VALUES and all(map(_is_number_or_none, value.values()))
    )


def _is_mapping(value: Any) -> bool:
    return value.__class__ is dict and not _is_deep(value)


def _is_provenance(value: Any) -> bool:
    if value.__class__ is not dict:
        return False
    flat = {key: one for key, one in value.items() if key not in ("versions", "processes")}
    return (
        isinstance(value.get("versions") or {}, dict)
        and not _is_deep(value)
        and _is_count_or_none(value.get("processes"))
        and all(one is None or isinstance(one, (str, bool, float)) or _is_count(one) for one in flat.values())
    )


def _are_inputs(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(one, Mapping)
        and _is_text(one.get("kind"))
        and _is_text(one.get("reference"))
        and _is_text_or_none(one.get("source_run_id"))
        for one in value
    )


def _are_errors(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(one, Mapping)
        and all(_is_text(one.get(name)) for name in ("source", "kind", "message", "traceback"))
        and _is_flag(one.get("retried"))
        for one in value
    )


def _are_verdicts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(one, Mapping)
        and all(_is_text(one.get(name)) for name in ("reward", "criterion", "text", "model", "key"))
        and all(_is_number_or_none(one.get(name)) for name in ("value", "usd"))
        and all(_is_count(one.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        and _is_count_or_none(one.get("opponent"))
        and _is_flag(one.get("reused"))
        for one in value
    )


def _are_tool_calls(value: Any) -> bool:
    return value is None or (
        isinstance(value, (list, tuple))
        and all(
            isinstance(one, Mapping)
            and all(_is_text(one.get(name)) for name in ("name", "cause"))
            and _is_count(one.get("turn"))
            and _is_outcome(one.get("outcome"))
            and _is_number_or_none(one.get("seconds"))
            for one in value
        )
    )


def _is_result(value: Any) -> bool:
    return (
        _is_mapping(value)
        and _is_number_or_none(value.get("total_time_seconds"))
        and isinstance(value.get("metrics") or {}, dict)
    )


def _is_deep(value: Any) -> bool:
    """Whether something is nested so deep that others who walk through it would fall."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if outer.__class__ is dict else outer)
            if inner.__class__ in (dict, list)
        ]
        if not level:
            return False
    return True


_BY_TYPE: dict[Any, _Check] = {
    str: _is_text,
    str | None: _is_text_or_none,
    bool: _is_flag,
    int: _is_count,
    int | None: _is_count_or_none,
    float | None: _is_number_or_none,
    Mapping[str, float]: _are_numbers,
    Mapping[str, float | None]: _are_numbers_or_none,
    Mapping[str, Any]: _is_mapping,
}
_BY_NAME: dict[str, _Check] = {
    "phase": _is_phase,
    "provenance": _is_provenance,
    "inputs": _are_inputs,
    "errors": _are_errors,
    "verdicts": _are_verdicts,
    "tool_calls": _are_tool_calls,
    "result": _is_result,
    "RunFinished.reason": _is_text_or_none,
}
"""What a field's type does not tell; as Event.field where other events have such a field too."""
_NEEDED = {"RolloutFinished"}
"""Events that need all their fields, with a default or without: their rows are made in one pass."""
_OPTIONAL = {"RolloutFinished.errors", "RolloutFinished.verdicts", "RolloutFinished.tool_calls"}
"""Fields that even those may lack."""
_LEFT_OUT = {"RunStarted.config"}
"""Fields without a default that an event can do without."""
_COMMON = {one.name for one in fields(Event)}


def _check(event: str, name: str, hint: Any) -> _Check:
    """Raises: KeyError: no check fits the field's type; add one to `_BY_TYPE` or `_BY_NAME`."""
    if own := _BY_NAME.get(f"{event}.{name}") or _BY_NAME.get(name):
        return own
    if get_origin(hint) is Literal:
        options = get_args(hint)
        return lambda value: value.__class__ is str and value in options
    return _BY_TYPE[hint]


def _is_needed(event: str, one: Field[Any]) -> bool:
    """Whether a whole event must have the field."""
    if event in _NEEDED and f"{event}.{one.name}" not in _OPTIONAL:
        return True
    has_default = one.default is not MISSING or one.default_factory is not MISSING
    return not has_default and f"{event}.{one.name}" not in _LEFT_OUT


def _checks(event: type[Event]) -> dict[str, tuple[_Check, bool]]:
    """By field, beside those that all events have: its check, and whether it is needed."""
    kind, hints = event.__name__, get_type_hints(event)
    return {
        one.name: (_check(kind, one.name, hints[one.name]), _is_needed(kind, one))
        for one in fields(event)
        if one.name not in _COMMON
    }


# This package's alone: the other end may not know what others derive from Event.
_KINDS = {one.__name__: _checks(one) for one in Event.__subclasses__() if one.__module__ == Event.__module__}
