"""Rows: the one place where what the journal's tables hold becomes records. A damaged row is named, and never used.

Databases are edited by hand, restored in part and written by other programs: SQLite takes any type in any column.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tenyson.cloud.backend import Handle
from tenyson.config.document import describe
from tenyson.config.shape import Damaged, field_problems, misfits, shape_problems
from tenyson.errors import ConfigError, DamagedRowError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.graph.policy import FailurePolicy
from tenyson.pipeline.journal.origin import Origin
from tenyson.pipeline.journal.records import (
    CONTENTS,
    AttemptRecord,
    DecisionRecord,
    PipelineRecord,
    StepRecord,
    result_from,
)
from tenyson.pipeline.request import PipelineRequest

MAX_LEASE_SECONDS = 2 * 86400.0
LAST_TIME = 253_402_300_799.0
"""Of the year 9999: what is later, no calendar can show."""
LAST_COUNT = 2**31 - 1
"""The largest number of a column of PostgreSQL's type integer."""
MAX_PAUSE_SECONDS = 7 * 86400.0

T = TypeVar("T")


def pipeline_record(row: Any) -> PipelineRecord:
    """From a row of `pipelines`. Raises: DamagedRowError."""
    name = f"pipelines, pipeline {row['id']!r:.80}"
    fields = dict(row)
    plan = fields.pop("plan")
    _check(name, field_problems(fields, PipelineRecord, partial=True))
    _check(name, misfits(plan, Mapping[str, Any], "plan"))
    _check(name, _plan_problems(plan))
    _check(name, _time_problems(fields))
    _check(name, _count_problems(fields))
    holder = fields["holder"]
    if holder is not None:
        _check(name, shape_problems(holder, {"host": str, "pid": int}, "holder", required=True))
    try:
        return PipelineRecord(
            request=PipelineRequest.from_json(plan), origin=Origin.from_json(plan), **fields
        )
    except ConfigError as error:
        _check(name, [f"plan.policy: {error}"])
        raise


def step_record(row: Any) -> StepRecord:
    """From a row of `pipeline_steps`. Raises: DamagedRowError."""
    fields = _fields(StepRecord, row)
    name = _name("pipeline_steps", row)
    # SQLite has no booleans.
    if fields["resume"] in (0, 1):
        fields["resume"] = bool(fields["resume"])
    _check(name, field_problems(fields, StepRecord))
    _check(name, _time_problems(fields))
    _check(name, _count_problems(fields))
    _check(name, field_problems(fields["definition"], Definition, "definition", partial=True))
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
    _check(name, field_problems(fields, AttemptRecord))
    _check(name, _time_problems(fields))
    fields["spec"] = JobSpec(**fields["spec"])
    fields["handle"] = None if fields["handle"] is None else Handle(**fields["handle"])
    fields["result"] = None if fields["result"] is None else result_from(fields["result"])
    return AttemptRecord(**fields)


def decision_record(row: Any) -> DecisionRecord:
    """From a row of `pipeline_decisions`. Raises: DamagedRowError."""
    name = f"{_name('pipeline_decisions', row)}, id {row['id']!r:.40}"
    fields = dict(row)
    _check(name, field_problems(fields, DecisionRecord))
    _check(name, _time_problems(fields))
    if not fields["choices"]:
        _check(name, ["choices: there is none"])
    return DecisionRecord(**{**fields, "choices": tuple(fields["choices"])})


def definition_of(step: StepRecord) -> Definition:
    """What a step's row says that it runs. Raises: DamagedRowError: something of it is missing."""
    name = f"pipeline_steps, pipeline {step.pipeline_id!r:.80}, step {step.label!r:.80}"
    _check(name, field_problems(step.definition, Definition, "definition"))
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
    yield from shape_problems(plan, texts, "plan")
    shapes: dict[str, Any] = {
        "machine": dict[str, Any] | None,
        "journal": str | None,
        "max_parallel": int,
        "format": int,
        "required": list[str],
        "anew": list[str] | None,
        "sources": dict[str, str] | None,
        "policy": dict[str, Any] | None,
        "backend": dict[str, Any] | None,
    }
    yield from shape_problems(plan, shapes, "plan")
    if isinstance(plan.get("max_parallel"), int) and plan["max_parallel"] < 1:
        yield f"plan.max_parallel: expected a number from 1 on, not {plan['max_parallel']}"
    if isinstance(policy := plan.get("policy"), Mapping):
        yield from field_problems(policy, FailurePolicy, "plan.policy", partial=True)
    if isinstance(backend := plan.get("backend"), Mapping):
        yield from shape_problems(
            backend, {"name": str, "settings": dict[str, Any]}, "plan.backend", required=True
        )


def _time_problems(fields: Mapping[str, Any]) -> Iterator[str]:
    for key, value in fields.items():
        if key.endswith("_at") and value is not None and not 0 <= value <= LAST_TIME:
            yield f"{key}: {value:g} is no time"


def _count_problems(fields: Mapping[str, Any]) -> Iterator[str]:
    for key in {"fence", "attempt"}.intersection(fields):
        if not 0 <= fields[key] < LAST_COUNT:
            yield f"{key}: {fields[key]} is no count: the next one has no place in the database"


def _fields(record: type, row: Any) -> dict[str, Any]:
    return {field.name: row[field.name] for field in dataclasses.fields(record)}


def _number(value: Any) -> Any:
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, None: math.nan}
    return words.get(value, value) if value is None or isinstance(value, str) else value
