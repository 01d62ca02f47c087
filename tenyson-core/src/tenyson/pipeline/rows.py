"""Rows: the one place where what the journal's tables hold becomes records. A damaged row is named, and never used.

Databases are edited by hand, restored in part and written by other programs: SQLite takes any type in any column.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeVar

from tenyson.cloud.backend import Handle
from tenyson.config.document import describe
from tenyson.errors import DamagedRowError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.definition import Definition
from tenyson.pipeline.policy import FailurePolicy
from tenyson.pipeline.records import (
    CONTENTS,
    AttemptRecord,
    DecisionRecord,
    PipelineRecord,
    StepRecord,
    result_from,
)

MAX_DEPTH = 100
"""Of JSON: what is nested deeper was not written by Tenyson, and would exhaust Python's stack."""
MAX_LEASE_SECONDS = 2 * 86400.0
MAX_PAUSE_SECONDS = 7 * 86400.0

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Damaged:
    """A value that could not be read from its column."""

    why: str


def read_json(value: Any) -> Any:
    """A JSON column of SQLite, which may hold anything; never raises."""
    if value is None:
        return None
    if not isinstance(value, str):
        return Damaged(f"expected JSON, not {describe(value)}")
    try:
        data = json.loads(value)
    except ValueError:
        return Damaged(f"is no JSON: {value[:40]!r}")
    except RecursionError:
        return Damaged("is nested too deeply")
    return Damaged("is nested too deeply") if _depth(data) > MAX_DEPTH else data


def pipeline_record(row: Any) -> PipelineRecord:
    """From a row of `pipelines`. Raises: DamagedRowError."""
    name = f"pipelines, pipeline {row['id']!r:.80}"
    fields = _fields(PipelineRecord, row)
    _check(name, _problems(fields, PipelineRecord))
    _check(name, _plan_problems(fields["plan"]))
    holder = fields["holder"]
    if holder is not None:
        _check(name, _shape(holder, {"host": str, "pid": int}, "holder", required=True))
    return PipelineRecord(**fields)


def step_record(row: Any) -> StepRecord:
    """From a row of `pipeline_steps`. Raises: DamagedRowError."""
    fields = _fields(StepRecord, row)
    name = _name("pipeline_steps", row)
    # SQLite has no booleans.
    if fields["resume"] in (0, 1):
        fields["resume"] = bool(fields["resume"])
    _check(name, _problems(fields, StepRecord))
    _check(name, _problems(fields["definition"], Definition, "definition", partial=True))
    not_before = fields["not_before"]
    if not_before is not None and not_before > fields["updated_at"] + MAX_PAUSE_SECONDS:
        _check(name, [f"not_before: {not_before:.0f} is more than a week after updated_at"])
    return StepRecord(**fields)


def attempt_record(row: Any) -> AttemptRecord:
    """From a row of `pipeline_attempts`. Raises: DamagedRowError."""
    name = _name("pipeline_attempts", row)
    fields = dict(row)
    result = fields["result"]
    if result is not None and not isinstance(result, Mapping | Damaged):
        _check(name, [f"result: expected a mapping, not {describe(result)}"])
    if isinstance(result, Mapping):
        fields["contents"] = result.get(CONTENTS)
        known = {key: value for key, value in result.items() if key in JobResult.__dataclass_fields__}
        if isinstance(metrics := known.get("metrics"), Mapping):
            # What was not finite was stored as text, or as null.
            known["metrics"] = {key: _number(value) for key, value in metrics.items()}
        fields["result"] = known
    _check(name, _problems(fields, AttemptRecord))
    fields["spec"] = JobSpec(**fields["spec"])
    fields["handle"] = None if fields["handle"] is None else Handle(**fields["handle"])
    fields["result"] = None if fields["result"] is None else result_from(fields["result"])
    return AttemptRecord(**fields)


def decision_record(row: Any) -> DecisionRecord:
    """From a row of `pipeline_decisions`. Raises: DamagedRowError."""
    name = f"{_name('pipeline_decisions', row)}, id {row['id']!r:.40}"
    fields = dict(row)
    _check(name, _problems(fields, DecisionRecord))
    if not fields["choices"]:
        _check(name, ["choices: there is none"])
    return DecisionRecord(**{**fields, "choices": tuple(fields["choices"])})


def definition_of(step: StepRecord) -> Definition:
    """What a step's row says that it runs. Raises: DamagedRowError: something of it is missing."""
    name = f"pipeline_steps, pipeline {step.pipeline_id!r:.80}, step {step.label!r:.80}"
    _check(name, _problems(step.definition, Definition, "definition"))
    if step.definition["label"] != step.label:
        _check(name, [f"definition.label: is {step.definition['label']!r:.80}"])
    return Definition.from_json(step.definition)


def readable(
    rows: Sequence[Any],
    record: Callable[[Any], T],
    skip: Callable[[DamagedRowError], None],
) -> list[T]:
    """The records of those rows that can be read; `skip` gets the error of each other one."""
    found = []
    for row in rows:
        try:
            found.append(record(row))
        except DamagedRowError as error:
            skip(error)
    return found


def _name(table: str, row: Any) -> str:
    parts = [table, f"pipeline {row['pipeline_id']!r:.80}", f"step {row['label']!r:.80}"]
    if "attempt" in row and table != "pipeline_steps":
        parts.append(f"attempt {row['attempt']!r:.40}")
    return ", ".join(parts)


def _check(name: str, problems: typing.Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise DamagedRowError(
            f"the journal has a damaged row: {name}: {'; '.join(found[:3])}",
            next_step="Restore the database from a backup, or correct this row by SQL. Jobs that run do not need it.",
        )


def _plan_problems(plan: Mapping[str, Any]) -> Iterator[str]:
    texts = dict.fromkeys(("host", "cwd", "output_dir", "title", "next", "nonce"), str)
    yield from _shape(plan, texts, "plan")
    shapes: dict[str, Any] = {
        "machine": dict[str, Any] | None,
        "journal": str | None,
        "max_parallel": int,
        "required": list[str],
        "anew": list[str] | None,
        "sources": dict[str, str] | None,
        "policy": dict[str, Any] | None,
        "backend": dict[str, Any] | None,
    }
    yield from _shape(plan, shapes, "plan")
    if isinstance(plan.get("max_parallel"), int) and plan["max_parallel"] < 1:
        yield f"plan.max_parallel: expected a number from 1 on, not {plan['max_parallel']}"
    if isinstance(policy := plan.get("policy"), Mapping):
        yield from _problems(policy, FailurePolicy, "plan.policy", partial=True)
    if isinstance(backend := plan.get("backend"), Mapping):
        yield from _shape(backend, {"name": str, "settings": dict[str, Any]}, "plan.backend", required=True)


def _shape(data: Any, shape: Mapping[str, Any], place: str, *, required: bool = False) -> Iterator[str]:
    if not isinstance(data, Mapping):
        yield f"{place}: {_not('a mapping', data)}"
        return
    for key, hint in shape.items():
        if key in data:
            yield from _misfits(data[key], hint, f"{place}.{key}")
        elif required:
            yield f"{place}.{key}: is missing"


def _fields(record: type, row: Any) -> dict[str, Any]:
    return {field.name: row[field.name] for field in dataclasses.fields(record)}


def _number(value: Any) -> Any:
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, None: math.nan}
    return words.get(value, value) if value is None or isinstance(value, str) else value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _problems(data: Any, cls: type, place: str = "", *, partial: bool = False) -> Iterator[str]:
    """What keeps `data` from being the fields of the dataclass `cls`; with `partial`, some may be missing."""
    if not isinstance(data, Mapping):
        yield f"{place}: {_not('a mapping', data)}" if place else _not("a mapping", data)
        return
    hints = _hints(cls)
    for field in dataclasses.fields(cls):
        inside = f"{place}.{field.name}" if place else field.name
        if field.name in data:
            yield from _misfits(data[field.name], hints[field.name], inside, partial=partial)
            if not place and isinstance(data[field.name], float) and not math.isfinite(data[field.name]):
                yield f"{inside}: expected a finite number, not {data[field.name]}"
        elif (
            not partial
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            yield f"{inside}: is missing"
    for key in data:
        if key not in hints:
            yield f"{place}.{key!s:.40}: this release of Tenyson does not know it"


def _misfits(value: Any, hint: Any, place: str, *, partial: bool = False) -> Iterator[str]:
    """Why a value is not of a type as annotated."""
    if isinstance(value, Damaged):
        yield f"{place}: {value.why}"
        return
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return
    if origin in (typing.Union, types.UnionType):
        options = [one for one in arguments if one is not type(None)]
        if value is None and len(options) < len(arguments):
            return
        yield from min((list(_misfits(value, one, place, partial=partial)) for one in options), key=len)
    elif origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            expected = f"one of {', '.join(map(str, arguments))}"
            yield f"{place}: {_not(expected, value)}"
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield from _problems(value, hint, place, partial=partial)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            yield f"{place}: {_not('a mapping', value)}"
            return
        for key, item in value.items():
            yield from _misfits(item, arguments[1], f"{place}.{key}")
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        if not isinstance(value, list | tuple):
            yield f"{place}: {_not('a list', value)}"
            return
        for index, item in enumerate(value):
            yield from _misfits(item, arguments[0], f"{place}.{index}")
    elif not _is_of(value, hint):
        words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
        yield f"{place}: {_not(words.get(hint, str(hint)), value)}"


def _is_of(value: Any, hint: Any) -> bool:
    if hint is str:
        return isinstance(value, str) and _is_utf8(value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not(expected: str, value: Any) -> str:
    return value.why if isinstance(value, Damaged) else f"expected {expected}, not {describe(value)}"


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level and deepest <= MAX_DEPTH:
        deepest += 1
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
    return deepest
