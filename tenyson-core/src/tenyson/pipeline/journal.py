"""The journal: what a pipeline intends, has launched and knows, kept so that any controller can go on with it.

Every write is one transaction that checks the writer's lease first (`tenyson.pipeline.lease`). Imports SQLAlchemy: import
this module only where the journal is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Self

from sqlalchemy import Connection, Engine, event, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, InterfaceError, InternalError, OperationalError, SQLAlchemyError

from tenyson.cloud.backend import Handle
from tenyson.errors import JournalAwayError, LeaseLostError, PipelineError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline import tables
from tenyson.pipeline.decision import Decision
from tenyson.pipeline.lease import lease_seconds
from tenyson.pipeline.records import (
    IN_FLIGHT,
    AttemptRecord,
    AttemptState,
    DecisionRecord,
    PipelineRecord,
    PipelineStatus,
    StepRecord,
    StepState,
    attempt_record,
    decision_record,
    plain,
)
from tenyson.telemetry.database import connect, first_line

Clock = Callable[[Connection], float]
_NOW = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
}


class Journal:
    """The journal in one database, for any number of pipelines.

    Raises:
        TelemetryError: the database cannot be used.
        PipelineError: it holds a journal of another version.
    """

    def __init__(self, db_url: str, *, create: bool = True, clock: Clock | None = None) -> None:
        """`create`: make the file and the tables where they are missing; else they must be there."""
        self.db_url = db_url
        self.engine = _open(db_url, create=create)
        self._clock = clock or database_clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self.engine.dispose()

    # Reading

    def pipeline(self, pipeline_id: str) -> PipelineRecord | None:
        """One pipeline; None where there is none of that name."""
        with self.reading() as connection:
            return _pipeline(connection, pipeline_id)

    def pipelines(self, *, fingerprint: str | None = None, limit: int = 1000) -> list[PipelineRecord]:
        """The newest first; with `fingerprint`, those that ask for the same."""
        query = select(tables.pipelines).order_by(tables.pipelines.c.created_at.desc()).limit(limit)
        if fingerprint is not None:
            query = query.where(tables.pipelines.c.fingerprint == fingerprint)
        with self.reading() as connection:
            return [_as(PipelineRecord, row) for row in connection.execute(query).mappings()]

    def steps(self, pipeline_id: str) -> list[StepRecord]:
        """A pipeline's steps, in order."""
        query = select(tables.steps).where(tables.steps.c.pipeline_id == pipeline_id)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(tables.steps.c.position)).mappings().all()
        return [_as(StepRecord, row) for row in rows]

    def step(self, pipeline_id: str, label: str) -> StepRecord:
        """One step. Raises: PipelineError: there is none of that label."""
        columns = tables.steps.c
        query = select(tables.steps).where(columns.pipeline_id == pipeline_id, columns.label == label)
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise PipelineError(f"the pipeline {pipeline_id} has no step {label!r}")
        return _as(StepRecord, row)  # type: ignore[no-any-return]

    def attempts(self, pipeline_id: str) -> list[AttemptRecord]:
        """All attempts of a pipeline's steps, the earliest first."""
        query = select(tables.attempts).where(tables.attempts.c.pipeline_id == pipeline_id)
        return self._attempts(query.order_by(tables.attempts.c.started_at, tables.attempts.c.attempt))

    def attempt(self, pipeline_id: str, label: str, attempt: int) -> AttemptRecord:
        """One attempt, which must be there."""
        columns = tables.attempts.c
        query = select(tables.attempts).where(
            columns.pipeline_id == pipeline_id, columns.label == label, columns.attempt == attempt
        )
        (found,) = self._attempts(query)
        return found

    def attempts_of_run(self, run_id: str) -> list[AttemptRecord]:
        """The attempts that ran under a run id, the earliest first."""
        query = select(tables.attempts).where(tables.attempts.c.run_id == run_id)
        return self._attempts(query.order_by(tables.attempts.c.started_at))

    def attempts_with_inputs(self, inputs_hash: str | None = None) -> list[AttemptRecord]:
        """Attempts that ended well and whose inputs are known (and hash to `inputs_hash`), the newest first."""
        columns = tables.attempts.c
        query = select(tables.attempts).where(columns.state == "DONE", columns.inputs_hash.is_not(None))
        if inputs_hash is not None:
            query = query.where(columns.inputs_hash == inputs_hash)
        return self._attempts(query.order_by(columns.ended_at.desc()).limit(200))

    def decisions(self, pipeline_id: str) -> list[DecisionRecord]:
        """All questions of a pipeline, the earliest first."""
        query = select(tables.decisions).where(tables.decisions.c.pipeline_id == pipeline_id)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(tables.decisions.c.id)).mappings().all()
        return [decision_record(row) for row in rows]

    def now(self) -> float:
        """The database's time."""
        with self.reading() as connection:
            return self._clock(connection)

    # Writing

    def create(
        self,
        pipeline_id: str,
        title: str,
        fingerprint: str,
        plan: Mapping[str, Any],
        definitions: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Write a new pipeline down, with its steps by label, in order. Raises: PipelineError: the name is taken."""
        try:
            with self.transaction() as (connection, now):
                connection.execute(
                    insert(tables.pipelines).values(
                        id=pipeline_id, title=title, status="running", fingerprint=fingerprint, plan=dict(plan),
                        created_at=now,
                    )
                )  # fmt: skip
                rows = [
                    {
                        "pipeline_id": pipeline_id, "label": label, "position": position, "definition": dict(definition),
                        "state": "PENDING", "updated_at": now,
                    }
                    for position, (label, definition) in enumerate(definitions.items())
                ]  # fmt: skip
                connection.execute(insert(tables.steps), rows)
        except IntegrityError as error:
            raise PipelineError(f"there is a pipeline {pipeline_id!r} already") from error

    def answer(self, question: int, answer: Decision, by: str) -> bool:
        """Answer an open question. False where somebody was quicker: the first answer stands."""
        open_one = (tables.decisions.c.id == question, tables.decisions.c.answer.is_(None))
        with self.transaction() as (connection, now):
            values = {"answer": answer, "answered_by": by, "answered_at": now}
            done = connection.execute(update(tables.decisions).where(*open_one).values(**values))
        return done.rowcount == 1

    @contextmanager
    def entry(self, pipeline_id: str, fence: int) -> Iterator[Entry]:
        """One transaction by the controller whose lease has this fence.

        Raises: LeaseLostError: another controller has taken over; nothing is written.
        """
        with self.transaction() as (connection, now):
            check_fence(connection, pipeline_id, fence)
            yield Entry(connection, pipeline_id, now)

    @contextmanager
    def transaction(self) -> Iterator[tuple[Connection, float]]:
        """A transaction that no lease guards, and the time in it: for the lease itself and the outbox.

        Raises: JournalAwayError: the database does not answer; whether a commit took place is not known then.
        """
        with self._answering(), self.engine.begin() as connection:
            yield connection, self._clock(connection)

    def _attempts(self, query: Any) -> list[AttemptRecord]:
        with self.reading() as connection:
            return [attempt_record(row) for row in connection.execute(query).mappings()]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that takes no lock. Raises: JournalAwayError."""
        with self._answering(), self.engine.connect().execution_options(reads=True) as connection:
            yield connection

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InternalError, InterfaceError) as error:
            raise JournalAwayError(
                f"the journal cannot be used: {first_line(error)}",
                place=self.engine.url.render_as_string(hide_password=True),
                next_step="Another process may hold it locked; jobs do not need it.",
            ) from error


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
        """An earlier run's result stands for this step."""
        assert source.result is not None
        self._step(label, {"PENDING"}, state="DONE", attempt=attempt)
        self._insert_attempt(
            label, attempt, token, spec, state="DONE", run_id=source.run_id, ended_at=self.now,
            inputs=source.inputs, inputs_hash=source.inputs_hash, result=plain(source.result),
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

    def done(self, label: str, attempt: int, result: JobResult) -> None:
        """It ended well."""
        self._step(label, IN_FLIGHT, state="DONE")
        self._end(label, attempt, "DONE", result, None)

    def failed(self, label: str, attempt: int, result: JobResult, reason: str | None) -> None:
        """It failed, and that is that: the pipeline ends, or goes on with what there is."""
        self._step(label, IN_FLIGHT, state="FAILED")
        self._end(label, attempt, "FAILED", result, reason)

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
    ) -> None:
        """It failed and will be launched again after `pause` seconds."""
        budget = "preemptions" if preempted else "failures"
        self._step(
            label, IN_FLIGHT, state="PENDING", resume=resume, not_before=self.now + pause,
            **{budget: tables.steps.c[budget] + 1},
        )  # fmt: skip
        self._end(label, attempt, "FAILED", result, reason)

    def stopped(self, label: str, attempt: int, result: JobResult, *, resume: bool) -> None:
        """It was asked to end with its controller, and will be launched again by the next one."""
        self._step(label, IN_FLIGHT, state="PENDING", resume=resume)
        self._end(label, attempt, "STOPPED", result, None)

    def wait(
        self,
        label: str,
        attempt: int,
        result: JobResult,
        reason: str | None,
        choices: Sequence[Decision],
        note: str = "",
    ) -> None:
        """It failed, and a person has to decide."""
        self._step(label, IN_FLIGHT, state="WAITING_HUMAN")
        self._end(label, attempt, "FAILED", result, reason)
        self.ask(label, attempt, choices, note)

    def ask(self, label: str, attempt: int, choices: Sequence[Decision], note: str = "") -> None:
        """Put a question about a step that waits."""
        self._connection.execute(
            insert(tables.decisions).values(
                pipeline_id=self._pipeline, label=label, attempt=attempt, choices=list(choices), note=note,
                asked_at=self.now,
            )
        )  # fmt: skip

    def decided(self, label: str, state: StepState, *, resume: bool = False) -> None:
        """It is decided: the step goes on as PENDING, or is left as FAILED. A question that is still open is closed with that."""
        self._step(label, {"WAITING_HUMAN"}, state=state, resume=resume, not_before=None)
        answer = "continue" if state == "FAILED" else "resume" if resume else "restart"
        columns = tables.decisions.c
        self._connection.execute(
            update(tables.decisions)
            .where(columns.pipeline_id == self._pipeline, columns.label == label, columns.answer.is_(None))
            .values(answer=answer, answered_by="the controller", answered_at=self.now)
        )

    def again(self, label: str, *, resume: bool = False) -> None:
        """A step that was over is asked for anew."""
        self._step(label, {"DONE", "FAILED"}, state="PENDING", resume=resume, not_before=None)

    def redefine(self, label: str, definition: Mapping[str, Any]) -> None:
        """A step that is not over is to run with other settings from its next attempt on."""
        columns = tables.steps.c
        self._connection.execute(
            update(tables.steps)
            .where(columns.pipeline_id == self._pipeline, columns.label == label, columns.state != "DONE")
            .values(definition=dict(definition), updated_at=self.now)
        )

    def post(self, event_id: str, channel: str, payload: Mapping[str, Any]) -> None:
        """Put a notification into the outbox."""
        self._connection.execute(
            insert(tables.outbox).values(
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

    def plan(self, plan: Mapping[str, Any]) -> None:
        """Replace what another controller needs to go on."""
        self._connection.execute(
            update(tables.pipelines).where(tables.pipelines.c.id == self._pipeline).values(plan=dict(plan))
        )

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
        self, label: str, attempt: int, state: AttemptState, result: JobResult, reason: str | None
    ) -> None:
        self._attempt(label, attempt, state=state, result=plain(result), reason=reason, ended_at=self.now)


def database_clock(connection: Connection) -> float:
    """Seconds since the epoch, as the database's machine has them: the one clock that all controllers share."""
    return float(connection.execute(text(_NOW[connection.dialect.name])).scalar_one())


def check_fence(connection: Connection, pipeline_id: str, fence: int) -> None:
    """Hold the pipeline's row, and see that no other controller has come. Raises: LeaseLostError."""
    columns = tables.pipelines.c
    query = select(columns.fence, columns.holder).where(columns.id == pipeline_id).with_for_update()
    found = connection.execute(query).first()
    if found is None or found.fence != fence:
        holder = None if found is None else found.holder
        who = f"process {holder['pid']} on {holder['host']}" if holder else "nobody any more"
        raise LeaseLostError(
            f"another controller has taken over the pipeline {pipeline_id}: it is driven by {who}",
            next_step="This one ends; its jobs go on.",
        )


def _pipeline(connection: Connection, pipeline_id: str) -> PipelineRecord | None:
    query = select(tables.pipelines).where(tables.pipelines.c.id == pipeline_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else _as(PipelineRecord, row)


def _as(record: Any, row: Any) -> Any:
    return record(**{field.name: row[field.name] for field in fields(record)})


def _open(db_url: str, *, create: bool) -> Engine:
    engine = connect(db_url, create=True) if create else connect(db_url, create=True, must_exist=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sync_fully)
    else:
        event.listen(engine, "connect", _hold_rows_briefly)
    try:
        _make_tables(engine, create=create)
    except SQLAlchemyError as error:
        place = engine.url.render_as_string(hide_password=True)
        raise PipelineError(f"the journal cannot be used: {first_line(error)}", place=place) from error
    return engine


def _sync_fully(connection: Any, _record: Any) -> None:
    # A launch that is forgotten with the power is launched twice: unlike telemetry, these commits wait for the disk.
    connection.execute("PRAGMA synchronous=FULL")


def _hold_rows_briefly(connection: Any, _record: Any) -> None:
    # A controller that is stopped inside a transaction holds the pipeline's row: the server ends that, so that another one
    # can take over.
    seconds = min(lease_seconds(), 10.0)
    connection.execute(f"SET SESSION idle_in_transaction_session_timeout = {int(seconds * 1000)}")
    connection.commit()


def _make_tables(engine: Engine, *, create: bool) -> None:
    import sqlalchemy

    from tenyson.telemetry.schema import lock

    def found() -> str | None:
        with engine.connect().execution_options(reads=True) as connection:
            if not sqlalchemy.inspect(connection).has_table(tables.version.name):
                return None
            return connection.execute(select(func.max(tables.version.c.version))).scalar()

    version = found()
    if version is None and not create:
        raise PipelineError(
            "no pipeline was ever run with this database",
            place=engine.url.render_as_string(hide_password=True),
            next_step="Give the one it was run with: --db-url, or TENYSON_DB_URL.",
        )
    if version is None:
        with engine.begin() as connection:
            lock(connection)
            if not sqlalchemy.inspect(connection).has_table(tables.version.name):
                tables.metadata.create_all(connection)
                for statement in tables.FIRST_ANSWER_STANDS[connection.dialect.name]:
                    connection.execute(text(statement))
                connection.execute(insert(tables.version).values(version=tables.VERSION))
        version = found()
    if version != tables.VERSION:
        raise PipelineError(
            f"this database has a journal of version {version}, and this release of Tenyson knows {tables.VERSION}",
            next_step="Upgrade tenyson-core.",
        )
