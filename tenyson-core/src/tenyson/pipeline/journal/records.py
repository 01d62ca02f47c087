"""What the journal holds, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tenyson.cloud.backend import Handle
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.journal.decision import Decision
from tenyson.pipeline.journal.origin import Origin
from tenyson.pipeline.request import PipelineRequest
from tenyson.telemetry.events.strict_json import number

StepState = Literal["PENDING", "INTENT", "LAUNCHED", "RUNNING", "DONE", "FAILED", "WAITING_HUMAN"]
AttemptState = Literal["INTENT", "LAUNCHED", "RUNNING", "DONE", "FAILED", "STOPPED"]
PipelineStatus = Literal["running", "success", "stopped", "failed"]

IN_FLIGHT: frozenset[StepState] = frozenset({"INTENT", "LAUNCHED", "RUNNING"})
OVER: frozenset[StepState] = frozenset({"DONE", "FAILED"})
UNFINISHED: frozenset[PipelineStatus] = frozenset({"running", "stopped"})


CONTENTS = "contents"
"""In a stored result, beside its own fields: what the folder held when the attempt ended."""


@dataclass(frozen=True)
class PipelineRecord:
    """A row of `pipelines`."""

    id: str
    title: str
    status: PipelineStatus
    fingerprint: str
    request: PipelineRequest
    origin: Origin
    created_at: float
    finished_at: float | None
    fence: int
    holder: Mapping[str, Any] | None
    lease_until: float | None


@dataclass(frozen=True)
class StepRecord:
    """A row of `pipeline_steps`."""

    label: str
    position: int
    definition: Mapping[str, Any]
    state: StepState
    attempt: int
    resume: bool
    not_before: float | None
    failures: int
    preemptions: int
    updated_at: float
    pipeline_id: str = ""

    @property
    def run_id(self) -> str:
        """The run of its definition; "" where the row has none."""
        return str((self.definition.get("spec") or {}).get("run_id", ""))

    @property
    def needs(self) -> tuple[str, ...]:
        """Labels of the steps that must be over before it."""
        return tuple(self.definition.get("needs") or ())


@dataclass(frozen=True)
class AttemptRecord:
    """A row of `pipeline_attempts`."""

    pipeline_id: str
    label: str
    attempt: int
    run_id: str
    token: str
    spec: JobSpec
    handle: Handle | None
    state: AttemptState
    result: JobResult | None
    reason: str | None
    inputs: Mapping[str, Any] | None
    inputs_hash: str | None
    reused_from: str | None
    started_at: float
    ended_at: float | None
    contents: Mapping[str, str] | None = None
    """SHA-256 of what it left in its folder (`tenyson.pipeline.cache.identity`); attempts of earlier versions have none."""


@dataclass(frozen=True)
class DecisionRecord:
    """A row of `pipeline_decisions`."""

    id: int
    pipeline_id: str
    label: str
    attempt: int
    choices: tuple[Decision, ...]
    note: str
    answer: Decision | None
    answered_by: str | None
    asked_at: float
    answered_at: float | None


def result_from(data: Mapping[str, Any]) -> JobResult:
    """A JobResult as it was stored; fields of later versions are ignored."""
    known = {key: value for key, value in data.items() if key in JobResult.__dataclass_fields__}
    if isinstance(metrics := known.get("metrics"), Mapping):
        known["metrics"] = {name: number(value) for name, value in metrics.items()}
    return JobResult(**known)


def plain(value: Any) -> dict[str, Any]:
    """A dataclass as JSON-safe data."""
    return asdict(value)
