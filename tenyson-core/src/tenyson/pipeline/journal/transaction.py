"""An entry: one transaction's writes to the journal, by the controller whose lease holds. Imports SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tenyson.cloud.backend import Handle
from tenyson.errors import LeaseLostError, PipelineError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.journal import tables
from tenyson.pipeline.journal.decision import Decision
from tenyson.pipeline.journal.records import (
    CONTENTS,
    IN_FLIGHT,
    AttemptRecord,
    AttemptState,
    PipelineStatus,
    StepState,
    plain,
)
from tenyson.telemetry.database.attempts import insert_or_ignore

Contents = Mapping[str, str] | None


class Entry:
    """One transaction's writes. Each step may only go from one state to certain others."""

    def __init__(self, connection: Connection, pipeline_id: str, now: float) -> None:
        self.now = now
        self._connection = connection
        self._pipeline = pipeline_id

    def intend(
        self,
        label: str,
        attempt: int,
        token: str,
        spec: JobSpec,
        inputs: Mapping[str, Any] | None = None,
        inputs_hash: str | None = None,
    ) -> None:
        """The step will be launched as its attempt number `attempt`."""
        self._step(label, {"PENDING"}, state="INTENT", attempt=attempt, not_before=None)
        self._insert_attempt(
            label, attempt, token, spec, state="INTENT", inputs=inputs, inputs_hash=inputs_hash
        )  # fmt: skip

    def reuse(
        self,
        label: str,
        attempt: int,
        token: str,
        spec: JobSpec,
        source: AttemptRecord,
    ) -> None:
        """An earlier run's result is reused for this step."""
        assert source.result is not None
        self._step(label, {"PENDING"}, state="DONE", attempt=attempt)
        self._insert_attempt(
            label, attempt, token, spec, state="DONE", run_id=source.run_id, ended_at=self.now,
            inputs=source.inputs, inputs_hash=source.inputs_hash, result=_stored(source.result, source.contents),
            reused_from=source.reused_from or source.run_id,
        )  # fmt: skip

    def launched(self, label: str, attempt: int, handle: Handle) -> None:
        """It was launched, and this is how to find it."""
        self._step(label, {"INTENT"}, state="LAUNCHED")
        self._attempt(label, attempt, state="LAUNCHED", handle=plain(handle))

    def running(self, label: str, attempt: int) -> None:
        """It was seen running."""
        self._step(label, {"LAUNCHED"}, state="RUNNING")
        self._attempt(label, attempt, state="RUNNING")

    def done(self, label: str, attempt: int, result: JobResult, contents: Contents = None) -> None:
        """It succeeded; `contents` tell what it left from what others leave in its folder."""
        self._step(label, IN_FLIGHT, state="DONE")
        self._end(label, attempt, "DONE", result, None, contents)

    def failed(
        self, label: str, attempt: int, result: JobResult, reason: str | None, contents: Contents = None
    ) -> None:
        """It failed for good: the pipeline ends, or continues without it."""
        self._step(label, IN_FLIGHT, state="FAILED")
        self._end(label, attempt, "FAILED", result, reason, contents)

    def retry(
        self,
        label: str,
        attempt: int,
        result: JobResult,
        reason: str | None,
        *,
        resume: bool,
        pause: float,
        preempted: bool,
        contents: Contents = None,
    ) -> None:
        """It failed and will be launched again after `pause` seconds."""
        budget = "preemptions" if preempted else "failures"
        self._step(
            label, IN_FLIGHT, state="PENDING", resume=resume, not_before=self.now + pause,
            **{budget: tables.steps.c[budget] + 1},
        )  # fmt: skip
        self._end(label, attempt, "FAILED", result, reason, contents)

    def stopped(
        self, label: str, attempt: int, result: JobResult, *, resume: bool, contents: Contents = None
    ) -> None:
        """It was asked to end with its controller, and will be launched again by the next one."""
        self._step(label, IN_FLIGHT, state="PENDING", resume=resume)
        self._end(label, attempt, "STOPPED", result, None, contents)

    def wait(
        self,
        label: str,
        attempt: int,
        result: JobResult,
        reason: str | None,
        choices: Sequence[Decision],
        note: str = "",
        contents: Contents = None,
    ) -> None:
        """It failed, and a person has to decide."""
        self._step(label, IN_FLIGHT, state="WAITING_HUMAN")
        self._end(label, attempt, "FAILED", result, reason, contents)
        self.ask(label, attempt, choices, note)

    def ask(self, label: str, attempt: int, choices: Sequence[Decision], note: str = "") -> None:
        """Put a question about a step that waits."""
        self._date_answers(label)
        self._connection.execute(
            insert(tables.decisions).values(
                pipeline_id=self._pipeline, label=label, attempt=attempt, choices=list(choices), note=note,
                asked_at=self.now,
            )
        )  # fmt: skip

    def decided(self, label: str, state: StepState, *, resume: bool = False) -> None:
        """It is decided: the step becomes PENDING again, or stays FAILED. A question that is still open is closed."""
        self._step(label, {"WAITING_HUMAN"}, state=state, resume=resume, not_before=None)
        answer = "continue" if state == "FAILED" else "resume" if resume else "restart"
        columns = tables.decisions.c
        self._connection.execute(
            update(tables.decisions)
            .where(columns.pipeline_id == self._pipeline, columns.label == label, columns.answer.is_(None))
            .values(answer=answer, answered_by="the controller", answered_at=self.now)
        )
        self._date_answers(label)

    def again(self, label: str, *, resume: bool = False) -> None:
        """A finished step is to run again."""
        self._step(label, {"DONE", "FAILED"}, state="PENDING", resume=resume, not_before=None)

    def redefine(self, label: str, definition: Mapping[str, Any]) -> None:
        """A step that is not at work is to run with other settings from its next attempt on."""
        columns = tables.steps.c
        self._connection.execute(
            update(tables.steps)
            .where(
                columns.pipeline_id == self._pipeline, columns.label == label, columns.state.not_in(IN_FLIGHT)
            )
            .values(definition=dict(definition), updated_at=self.now)
        )

    def post(self, event_id: str, channel: str, payload: Mapping[str, Any]) -> None:
        """Put a notification into the outbox, unless it is there: whoever lost the reply to a commit posts again."""
        self._connection.execute(
            insert_or_ignore(self._connection, tables.outbox).values(
                event_id=event_id, channel=channel, pipeline_id=self._pipeline, payload=dict(payload),
                created_at=self.now, next_try_at=self.now,
            )
        )  # fmt: skip

    def status(self, status: PipelineStatus) -> None:
        """How the pipeline stands."""
        finished = None if status == "running" else self.now
        self._connection.execute(
            update(tables.pipelines)
            .where(tables.pipelines.c.id == self._pipeline)
            .values(status=status, finished_at=finished)
        )

    def _date_answers(self, label: str) -> None:
        """An answer by SQL brings no time: it was given when it is acted on, within a moment."""
        columns = tables.decisions.c
        self._connection.execute(
            update(tables.decisions)
            .where(
                columns.pipeline_id == self._pipeline, columns.label == label,
                columns.answer.is_not(None), columns.answered_at.is_(None),
            )
            .values(answered_at=self.now)
        )  # fmt: skip

    def _step(self, label: str, before: frozenset[StepState] | set[StepState], **values: Any) -> None:
        columns = tables.steps.c
        done = self._connection.execute(
            update(tables.steps)
            .where(columns.pipeline_id == self._pipeline, columns.label == label, columns.state.in_(before))
            .values(updated_at=self.now, **values)
        )
        if done.rowcount != 1:
            wanted = values.get("state")
            raise PipelineError(f"step {label!r} cannot become {wanted}: the journal has it in another state")

    def _insert_attempt(self, label: str, attempt: int, token: str, spec: JobSpec, **values: Any) -> None:
        row = {"run_id": spec.run_id, "spec": plain(spec), "started_at": self.now} | values
        self._connection.execute(
            insert(tables.attempts).values(
                pipeline_id=self._pipeline, label=label, attempt=attempt, token=token, **row
            )
        )

    def _attempt(self, label: str, attempt: int, **values: Any) -> None:
        columns = tables.attempts.c
        self._connection.execute(
            update(tables.attempts)
            .where(columns.pipeline_id == self._pipeline, columns.label == label, columns.attempt == attempt)
            .values(**values)
        )

    def _end(
        self,
        label: str,
        attempt: int,
        state: AttemptState,
        result: JobResult,
        reason: str | None,
        contents: Contents,
    ) -> None:
        stored = _stored(result, contents)
        self._attempt(label, attempt, state=state, result=stored, reason=reason, ended_at=self.now)


def _stored(result: JobResult, contents: Contents) -> dict[str, Any]:
    return plain(result) | ({CONTENTS: dict(contents)} if contents else {})


def check_fence(connection: Connection, pipeline_id: str, fence: int) -> None:
    """Hold the pipeline's row, and see that no other controller has come. Raises: LeaseLostError."""
    columns = tables.pipelines.c
    query = select(columns.fence, columns.holder).where(columns.id == pipeline_id).with_for_update()
    found = connection.execute(query).first()
    if found is None or found.fence != fence:
        holder = None if found is None else found.holder
        known = holder if isinstance(holder, Mapping) else {}
        who = f"process {known.get('pid')} on {known.get('host')}" if known else "nobody any more"
        raise LeaseLostError(
            f"another controller has taken over the pipeline {pipeline_id}: it is driven by {who}",
            next_step="This one ends; its jobs keep running.",
        )
