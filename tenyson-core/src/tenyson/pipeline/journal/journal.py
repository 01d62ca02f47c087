"""The journal: what a pipeline intends, has launched and knows, kept so that any controller can continue it.

Every write is one transaction that checks the writer's lease first (`tenyson.pipeline.journal.lease`). Imports SQLAlchemy: import
this module only where the journal is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from secrets import token_hex
from typing import Any, Self

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
)

from tenyson.config.explain import did_you_mean
from tenyson.errors import DamagedRowError, JournalAwayError, PipelineError
from tenyson.pipeline.journal import tables
from tenyson.pipeline.journal.database import Clock, database_clock, open_journal, sqlite_file
from tenyson.pipeline.journal.decision import Decision
from tenyson.pipeline.journal.origin import NONCE
from tenyson.pipeline.journal.records import (
    UNFINISHED,
    AttemptRecord,
    DecisionRecord,
    PipelineRecord,
    StepRecord,
    StepState,
)
from tenyson.pipeline.journal.rows import (
    attempt_record,
    decision_record,
    pipeline_record,
    readable,
    step_record,
)
from tenyson.pipeline.journal.transaction import Entry, check_fence
from tenyson.telemetry.database.engine import first_line
from tenyson.telemetry.database.schema import lock


class Journal:
    """The journal in one database, for any number of pipelines.

    Raises:
        TelemetryError: the database cannot be used.
        PipelineError: it holds a journal of another version.
    """

    def __init__(
        self, db_url: str, *, create: bool = True, read_only: bool = False, clock: Clock | None = None
    ) -> None:
        """`create`: make the file and the tables where they are missing; else they must be there.
        `read_only`: they must be there, and nothing is written, not even a lock.
        """
        self.db_url = db_url
        self.engine = open_journal(db_url, create=create and not read_only, read_only=read_only)
        self.file = sqlite_file(self.engine)
        """Of SQLite, from any folder; None for a server."""
        self._clock = clock or database_clock
        self.skipped: dict[str, DamagedRowError] = {}
        """Damaged rows that were left out of lists, by their message."""

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

    def pipelines(self, *, unfinished: bool = False, limit: int | None = None) -> list[PipelineRecord]:
        """The newest first; with `unfinished`, those that are not over. Damaged rows are left out (`skipped`)."""
        query = select(tables.pipelines).order_by(tables.pipelines.c.created_at.desc()).limit(limit)
        if unfinished:
            query = query.where(tables.pipelines.c.status.in_(UNFINISHED))
        with self.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return readable(rows, pipeline_record, self._skip)

    def count_pipelines(self) -> int:
        """How many there are."""
        with self.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(tables.pipelines)).scalar_one())

    def steps(self, pipeline_id: str) -> list[StepRecord]:
        """A pipeline's steps, in order."""
        query = select(tables.steps).where(tables.steps.c.pipeline_id == pipeline_id)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(tables.steps.c.position)).mappings().all()
        return [step_record(row) for row in rows]

    def step(self, pipeline_id: str, label: str) -> StepRecord:
        """One step. Raises: PipelineError: there is none of that label."""
        columns = tables.steps.c
        query = select(tables.steps).where(columns.pipeline_id == pipeline_id, columns.label == label)
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            labels = [step.label for step in self.steps(pipeline_id)]
            hint = did_you_mean(label, labels) or f"steps: {', '.join(labels)}"
            raise PipelineError(f"the pipeline {pipeline_id} has no step {label!r}", next_step=hint)
        return step_record(row)

    def attempts(self, pipeline_id: str) -> list[AttemptRecord]:
        """All attempts of a pipeline's steps, the latest of each step last: by number, since clocks are set back."""
        query = select(tables.attempts).where(tables.attempts.c.pipeline_id == pipeline_id)
        return self._attempts(query.order_by(tables.attempts.c.attempt, tables.attempts.c.started_at))

    def attempt(self, pipeline_id: str, label: str, attempt: int) -> AttemptRecord:
        """One attempt. Raises: DamagedRowError: it is not there."""
        columns = tables.attempts.c
        query = select(tables.attempts).where(
            columns.pipeline_id == pipeline_id, columns.label == label, columns.attempt == attempt
        )
        found = self._attempts(query)
        if not found:
            raise DamagedRowError(
                f"the journal has no row of pipeline_attempts for pipeline {pipeline_id!r}, step {label!r}, attempt {attempt}"
            )
        return found[0]

    def attempts_of_run(self, run_id: str) -> list[AttemptRecord]:
        """The attempts that ran under a run id, the earliest first."""
        query = select(tables.attempts).where(tables.attempts.c.run_id == run_id)
        return self._attempts(query.order_by(tables.attempts.c.started_at))

    def users_of(self, names: Collection[str]) -> list[tuple[str, str, str | None, StepState | None]]:
        """Who uses these names in this journal: (name, pipeline, step, its state); no step where it is a pipeline's own name."""
        ids, steps, attempts = tables.pipelines.c.id, tables.steps.c, tables.attempts.c
        # A pipeline's runs are called PIPELINE-LABEL, unless a script names them.
        above = {name[:place] for name in names for place, letter in enumerate(name) if letter == "-"}
        begun = select(attempts.pipeline_id).where(attempts.run_id.in_(names), attempts.reused_from.is_(None))
        query = select(steps.pipeline_id, steps.label, steps.state, steps.definition).where(
            steps.pipeline_id.in_(above) | steps.pipeline_id.in_(begun)
        )
        with self.reading() as connection:
            found = [
                (name, name, None, None) for (name,) in connection.execute(select(ids).where(ids.in_(names)))
            ]
            rows = connection.execute(query).all()
        runs = [(_run_id(row.definition), row.pipeline_id, row.label, row.state) for row in rows]
        # A single job and its pipeline have one name.
        own = {(name, pipeline) for name, pipeline, _, _ in runs if name in names}
        return [one for one in runs if one[0] in names] + [one for one in found if one[:2] not in own]

    def attempts_with_inputs(self, inputs_hash: str | None = None) -> list[AttemptRecord]:
        """Attempts that succeeded and whose inputs are known (and hash to `inputs_hash`), the newest first."""
        columns = tables.attempts.c
        query = select(tables.attempts).where(columns.state == "DONE", columns.inputs_hash.is_not(None))
        if inputs_hash is not None:
            query = query.where(columns.inputs_hash == inputs_hash)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(columns.ended_at.desc()).limit(200)).mappings().all()
        # One damaged row of another pipeline keeps nobody from working.
        return readable(rows, attempt_record, self._skip)

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
        *,
        unless: Callable[[PipelineRecord], bool] = lambda _: False,
    ) -> str:
        """Write a new pipeline down, with its steps by label, in order; returns its name.

        `unless`: whether an unfinished one that asks for the same stands in for it; then nothing is written, and that one's name is
        returned. Of two commands at once, the second one finds the first one's.

        Raises: PipelineError: the name is taken.
        """
        # Another pipeline of this name, in a database that was lost or in another one, may have left jobs where this one's go.
        whole = {**plan, NONCE: token_hex(16)}
        try:
            with self.transaction() as (connection, now):
                lock(connection)
                columns = tables.pipelines.c
                same = select(tables.pipelines).where(
                    columns.fingerprint == fingerprint, columns.status.in_(UNFINISHED)
                )
                rows = connection.execute(same.order_by(columns.created_at.desc())).mappings().all()
                for record in readable(rows, pipeline_record, self._skip):
                    if unless(record):
                        return record.id
                connection.execute(
                    insert(tables.pipelines).values(
                        id=pipeline_id, title=title, status="running", fingerprint=fingerprint, plan=whole,
                        created_at=now,
                    )
                )  # fmt: skip
                new = [
                    {
                        "pipeline_id": pipeline_id, "label": label, "position": position, "definition": dict(definition),
                        "state": "PENDING", "updated_at": now,
                    }
                    for position, (label, definition) in enumerate(definitions.items())
                ]  # fmt: skip
                connection.execute(insert(tables.steps), new)
        except IntegrityError as error:
            raise PipelineError(f"there is a pipeline {pipeline_id!r} already") from error
        return pipeline_id

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
            rows = connection.execute(query).mappings().all()
        return [attempt_record(row) for row in rows]

    def _skip(self, error: DamagedRowError) -> None:
        self.skipped.setdefault(str(error), error)

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
        except DatabaseError as error:
            if type(error) not in (DatabaseError, DataError):
                raise  # such as IntegrityError, which has a meaning
            raise PipelineError(
                f"the journal's database is damaged: {first_line(error)}",
                place=self.engine.url.render_as_string(hide_password=True),
                next_step="Restore it from a backup; jobs that run do not need it.",
            ) from error


def _pipeline(connection: Connection, pipeline_id: str) -> PipelineRecord | None:
    query = select(tables.pipelines).where(tables.pipelines.c.id == pipeline_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else pipeline_record(row)


def _run_id(definition: Any) -> str:
    spec = definition.get("spec") if isinstance(definition, Mapping) else None
    return str(spec.get("run_id", "")) if isinstance(spec, Mapping) else ""
