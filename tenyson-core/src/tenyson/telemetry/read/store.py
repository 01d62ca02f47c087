"""The store: reading what was recorded, for `tenyson runs`, `tenyson show` and reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tenyson.errors import TelemetryError
from tenyson.telemetry.read.record import Row, RunRecord, columns
from tenyson.telemetry.read.rollout_query import (
    call_counts,
    calls_of,
    chosen_rollouts,
    error_counts,
    errors_of,
    readable,
    rollouts_of,
    run_number,
)

if TYPE_CHECKING:
    from sqlalchemy import Select

READINGS = 3
"""How often a query is tried again where a writer came while it was read."""


class ChangedWhileReadError(TelemetryError):
    """What was read may be mixed from before and after a change."""


class Store:
    """Reads a telemetry database; it changes nothing. Close it, or use it as a context manager.

    Raises:
        NoRunsYetError: no run has been recorded in it yet.
        TelemetryError: there is no such database, or it cannot be read.
        MissingDependencyError: the database's driver is not installed.
    """

    def __init__(self, db_url: str) -> None:
        from tenyson.telemetry.database.engine import open_database

        self._engine = open_database(db_url, create=False)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._engine.dispose()

    def runs(self, limit: int | None = 50) -> list[RunRecord]:
        """The runs whose latest attempt started last, newest first."""
        from tenyson.telemetry.database.tables import runs

        return self._runs(_with_results().order_by(runs.c.started_at.desc()).limit(limit))

    def run(self, run_id: str) -> RunRecord | None:
        """One run; None where the database does not know it."""
        from tenyson.telemetry.database.tables import runs

        return next(iter(self._runs(_with_results().where(runs.c.run_id == run_id))), None)

    def metrics(self, run_id: str) -> list[Row]:
        """The canonical curve of a run: one row a logged step, `metrics` holding all its numbers.

        If a resumed attempt repeats steps, its rows supersede those of the attempt before.
        """
        from tenyson.telemetry.database.tables import metric_records as table

        return self._rows(_of_run(table, run_id).order_by(table.c.step, table.c.id))

    def epochs(self, run_id: str) -> list[Row]:
        """Mean loss and KL of each epoch of an RL run, the latest attempt's where several have it."""
        from tenyson.telemetry.database.tables import epoch_records as table

        return self._rows(_of_run(table, run_id).order_by(table.c.step, table.c.id))

    def rollouts(
        self,
        run_id: str,
        *,
        phase: str | None = None,
        training: bool | None = None,
        step: int | None = None,
        group: str | None = None,
        sample: str | None = None,
        dropped: bool | None = None,
        errors: bool | None = None,
        refused: bool | None = None,
        worst: bool | None = None,
        limit: int | None = 100,
    ) -> list[Row]:
        """Rollouts of a run: prompt, completion, reward and its components, advantage, and so on.

        The newest first, or with `worst` the lowest (True) or highest (False) reward first. `training` tells what
        was made for training from evaluation inside RL; `errors` leaves those that something broke, also where a further try succeeded,
        and `refused` those with refused calls of tools.
        Steps that a later attempt repeated are left out.
        """
        query = chosen_rollouts(
            run_id,
            phase=phase,
            training=training,
            step=step,
            group=group,
            sample=sample,
            dropped=dropped,
            errors=errors,
            refused=refused,
            worst=worst,
        )
        return readable(self._rows(query.limit(limit)), run_id)

    def rollout_errors(self, rollouts: Sequence[int]) -> list[Row]:
        """What broke some rollouts, given by their ids: source, class, message, traceback, and whether it was tried again (`retried`)."""
        return self._rows(errors_of(rollouts))

    def error_counts(self, run_id: str) -> list[Row]:
        """How often each class of error broke rollouts of a run: for good (`failed`), or with a further try (`retried`)."""
        return self._rows(error_counts(run_id))

    def tool_calls(self, rollouts: Sequence[int]) -> list[Row]:
        """The calls of tools of some rollouts, given by their ids: turn, tool, outcome, cause, seconds."""
        return self._rows(calls_of(rollouts))

    def call_counts(self, run_id: str) -> list[Row]:
        """How often calls of each tool of a run came to each outcome (`calls`), with the mean `seconds` and one `cause`."""
        return self._rows(call_counts(run_id))

    def count_rollouts(self, run_id: str, **chosen: Any) -> int:
        """How many `rollouts` would return without a limit. `chosen`: as for it."""
        from sqlalchemy import func, select

        matching = chosen_rollouts(run_id, **chosen).order_by(None).subquery()
        return int(self._rows(select(func.count().label("n")).select_from(matching))[0]["n"])

    def rollout_names(self, run_id: str, column: str) -> list[Any]:
        """The different values of a column, such as "sample_id", "group_id" or "step", of a run's rollouts."""
        from sqlalchemy import select

        from tenyson.telemetry.database.tables import rollout_records as table

        query = select(table.c[column].label("name")).where(
            table.c.run == run_number(run_id), ~table.c.superseded
        )
        return [row["name"] for row in self._rows(query.distinct().order_by("name"))]

    def rollout_stream(self, run_id: str, size: int, **chosen: Any) -> Iterator[list[Row]]:
        """The same without a limit, so many in memory at a time. `chosen`: as for `rollouts`."""
        for rows in self._streamed(chosen_rollouts(run_id, **chosen), size):
            yield readable(rows, run_id)

    def rollout_chunks(self, run_id: str, size: int) -> Iterator[list[Row]]:
        """All rollouts of a run in their order, so many at a time."""
        from tenyson.telemetry.database.tables import rollout_records as table

        last = -1
        while rows := self._rows(
            rollouts_of(run_id).where(table.c.id > last).order_by(table.c.id).limit(size)
        ):
            last = rows[-1]["id"]
            yield readable(rows, run_id)

    def metric_chunks(self, run_id: str, size: int) -> Iterator[list[Row]]:
        """All numbers of a run, one a row, about so many at a time."""
        chunk: list[Row] = []
        for row in self.metrics(run_id):
            about = {name: row[name] for name in ("attempt", "phase", "step", "epoch", "created_at")}
            for name, value in row["metrics"].items():
                chunk.append({"run_id": run_id, **about, "name": name, "value": float(value)})
            if len(chunk) >= size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def scores(self, run_id: str) -> list[Row]:
        """What each rollout of a run was worth, without its texts; `prompt` is a number, the same for the same text."""
        from sqlalchemy import select

        from tenyson.telemetry.database.tables import rollout_records as table

        columns = (
            table.c.sample_id,
            table.c.prompt,
            table.c.reward,
            table.c.components,
            table.c.finish_reason,
            table.c.tokens,
        )
        query = select(*columns).where(table.c.run == run_number(run_id), ~table.c.superseded)
        return self._rows(query.order_by(table.c.id))

    def run_ids(self) -> list[str]:
        """Names of all runs, the newest first."""
        from sqlalchemy import select

        from tenyson.telemetry.database.tables import runs

        return [row["run_id"] for row in self._rows(select(runs.c.run_id).order_by(runs.c.started_at.desc()))]

    def lineage(self, run_id: str) -> list[Row]:
        """What the latest attempt of a run was made from."""
        from sqlalchemy import func, select

        from tenyson.telemetry.database.tables import lineage as table

        latest = select(func.max(table.c.attempt)).where(table.c.run_id == run_id).scalar_subquery()
        query = select(table).where(
            table.c.run_id == run_id, table.c.attempt == latest, table.c.kind != "task"
        )
        return self._rows(query.order_by(table.c.id))

    def made_from(self, run_id: str) -> list[str]:
        """Names of the runs that name this one as what they were made from, the oldest first."""
        from sqlalchemy import func, select

        from tenyson.telemetry.database.tables import lineage as table

        query = select(table.c.run_id, func.min(table.c.id).label("first")).where(
            table.c.source_run_id == run_id, table.c.run_id != run_id
        )
        rows = self._rows(query.group_by(table.c.run_id))
        return [row["run_id"] for row in sorted(rows, key=lambda row: row["first"])]

    def requests(self, run_id: str) -> list[Row]:
        """What was asked of a run; without attempts' own rows, and what expired."""
        from sqlalchemy import select

        from tenyson.telemetry.database.tables import run_controls as table

        shown = table.c.status.in_(("pending", "accepted", "applied", "rejected"))
        return self._rows(select(table).where(table.c.run_id == run_id, shown).order_by(table.c.id))

    def notices(self, run_id: str) -> list[Row]:
        """Lines for a person, in their order."""
        from sqlalchemy import select

        from tenyson.telemetry.database.tables import notices as table

        return self._rows(select(table).where(table.c.run_id == run_id).order_by(table.c.id))

    def groups(
        self,
        run_id: str | None,
        *,
        step: int | None = None,
        worst: bool | None = None,
        limit: int | None = 20,
    ) -> list[Row]:
        """Groups of rollouts with their sums, of one run or of all; the last steps first, or by mean reward."""
        from sqlalchemy import select

        from tenyson.telemetry.database.tables import rollout_groups as table
        from tenyson.telemetry.database.tables import runs

        query = select(table, runs.c.run_id).join(runs, runs.c.id == table.c.run).where(~table.c.superseded)
        if run_id is not None:
            query = query.where(table.c.run == run_number(run_id))
        if step is not None:
            query = query.where(table.c.step == step)
        if worst is None:
            query = query.order_by(table.c.step.desc(), table.c.group_id)
        else:
            mean = table.c.reward_mean.asc() if worst else table.c.reward_mean.desc()
            query = query.where(table.c.reward_mean.is_not(None)).order_by(mean)
        return self._rows(query.limit(limit))

    def reward_by_step(self, run_id: str, *, training: bool = True) -> list[tuple[int, float]]:
        """Mean reward of all rollouts of each step, from the sums over groups."""
        from sqlalchemy import func, select

        from tenyson.telemetry.database.tables import rollout_groups as table

        query = (
            select(
                table.c.step,
                (func.sum(table.c.reward_sum) / func.nullif(func.sum(table.c.scored), 0)).label("mean"),
            )
            .where(table.c.run == run_number(run_id), ~table.c.superseded, table.c.training == training)
            .group_by(table.c.step)
            .order_by(table.c.step)
        )
        return [(row["step"], row["mean"]) for row in self._rows(query) if row["mean"] is not None]

    def attempts(self, run_id: str) -> list[Row]:
        """The attempts of a run, the first one first: code, versions, machine, times and why each ended."""
        from sqlalchemy import select

        from tenyson.telemetry.database.tables import attempts as table

        return self._rows(select(table).where(table.c.run_id == run_id).order_by(table.c.started_at))

    def losses(self, run_id: str) -> list[Row]:
        """What sinks did not record."""
        from sqlalchemy import select

        from tenyson.telemetry.database.tables import losses as table

        return self._rows(select(table).where(table.c.run_id == run_id).order_by(table.c.attempt))

    def _runs(self, query: Select[Any]) -> list[RunRecord]:
        return [RunRecord(**row) for row in self._rows(query)]

    def _rows(self, query: Select[Any]) -> list[Row]:
        for _ in range(READINGS - 1):
            with suppress(ChangedWhileReadError):
                return [row for rows in self._streamed(query, None) for row in rows]
        return [row for rows in self._streamed(query, None) for row in rows]

    def _streamed(self, query: Select[Any], size: int | None) -> Iterator[list[Row]]:
        """Rows, so many at a time; all at once without a size."""
        from sqlalchemy.exc import SQLAlchemyError

        from tenyson.telemetry.database.engine import first_line, is_stale

        place = self._engine.url.render_as_string(hide_password=True)
        try:
            with self._engine.connect() as connection:
                options = {} if size is None else {"stream_results": True}
                result = connection.execute(query, execution_options=options).mappings()
                while rows := result.fetchmany(size) if size else result.fetchall():
                    if is_stale(connection):
                        raise ChangedWhileReadError(
                            "a run began to write to the database while it was read",
                            place=place,
                            next_step="Call it again.",
                        )
                    yield [dict(row) for row in rows]
        except SQLAlchemyError as error:
            raise TelemetryError(f"the database cannot be read: {first_line(error)}", place=place) from error


def _of_run(table: Any, run_id: str) -> Select[Any]:
    from sqlalchemy import select

    return select(table).where(table.c.run == run_number(run_id), ~table.c.superseded)


def _with_results() -> Select[Any]:
    from sqlalchemy import select

    from tenyson.telemetry.database.tables import attempts, results, runs

    of_latest = (results.c.run_id == runs.c.run_id) & (results.c.attempt == runs.c.attempt)
    of_attempt = (attempts.c.run_id == runs.c.run_id) & (attempts.c.attempt == runs.c.attempt)
    tables = {"runs": runs, "attempts": attempts, "results": results}
    joined = runs.outerjoin(results, of_latest).outerjoin(attempts, of_attempt)
    return select(*(tables[table].c[name] for name, table in columns().items())).select_from(joined)
