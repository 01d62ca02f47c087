"""Checked events: whether fields of an event that came from elsewhere are what its kind should have.

A spool is written by the machine that ran the job, and a marked line of a log by whoever printed it: a text where a number
belongs would otherwise stop whoever reads it, at once or later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tenyson.plugins.job_kind import LONGEST_PHASE

MOST_INTEGER = (1 << 63) - 1
MOST_TIME = 1e11
"""Seconds since the epoch: the year 5138."""
MOST_DEPTH = 50
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


def _is_level(value: Any) -> bool:
    return value in ("info", "warning", "error") if value.__class__ is str else False


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


_KINDS: dict[str, dict[str, tuple[_Check, bool]]] = {
    "RunStarted": {
        "job_type": (_is_text, True),
        "task": (_is_text, True),
        "config": (_is_mapping, False),
        "output_dir": (_is_text, True),
        "total_steps": (_is_count_or_none, False),
        "attempt_uid": (_is_text, False),
        "provenance": (_is_provenance, False),
        "inputs": (_are_inputs, False),
    },
    "AttemptBegan": {"step": (_is_count, True), "checkpoint": (_is_text_or_none, False)},
    "MetricsLogged": {
        "phase": (_is_phase, True),
        "step": (_is_count, True),
        "total_steps": (_is_count_or_none, False),
        "epoch": (_is_number_or_none, False),
        "values": (_are_numbers, True),
    },
    "EpochEnded": {
        "phase": (_is_phase, True),
        "epoch": (_is_count, True),
        "step": (_is_count, True),
        "loss": (_is_number_or_none, True),
        "kl": (_is_number_or_none, True),
    },
    "RolloutFinished": {
        "phase": (_is_phase, True),
        "training": (_is_flag, True),
        "step": (_is_count, True),
        "sample_id": (_is_text, True),
        "group": (_is_text, True),
        "prompt": (_is_text, True),
        "completion": (_is_text, True),
        "reward": (_is_number_or_none, True),
        "components": (_are_numbers_or_none, True),
        "advantage": (_is_number_or_none, True),
        "finish_reason": (_is_text, True),
        "trained": (_is_flag, True),
        "dropped": (_is_text_or_none, True),
        "tokens": (_is_count, True),
        "info": (_is_mapping, True),
    },
    "Notice": {"level": (_is_level, True), "message": (_is_text, True)},
    "EventsLost": {
        "sink": (_is_text, True),
        "reason": (_is_text, True),
        "events": (_is_count, True),
        "rank": (_is_count, False),
    },
    "RunFinished": {
        "status": (_is_text, True),
        "reason": (_is_text_or_none, False),
        "result": (_is_result, True),
    },
}
