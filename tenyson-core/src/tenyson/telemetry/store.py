"""The store: reading what was recorded, for `tenyson runs`, `tenyson show` and reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tenyson.errors import TelemetryError

if TYPE_CHECKING:
    from sqlalchemy import Select

DEFAULT_DB_URL = "sqlite:///./tenyson_telemetry.db"
"""The command line's database, unless TENYSON_DB_URL or an option names another."""
DB_URL_VARIABLE = "TENYSON_DB_URL"

Row = dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """One run, as the database has it."""

    run_id: str
    job_type: str
    task: str
    status: str
    """"running", "success", "stopped" or "failed"; a run that was killed stays "running"."""
    attempt: int
    """The latest; a resumed run has more than one."""
    output_dir: str
    total_steps: int | None
    created_at: float
    """Seconds since the epoch; start of the first attempt."""
    started_at: float
    """Start of the latest attempt."""
    finished_at: float | None
    heartbeat_at: float | None = None
    """When its writer was last alive; a run that is "running" and has been silent for a minute was killed."""
    config: Row = field(default_factory=dict)
    result: Row | None = None
    """The JobResult's fields; None while there is none of the latest attempt."""


class Store:
    """Reads a telemetry database; it changes nothing. Close it, or use it as a context manager.

    Raises:
        TelemetryError: there is no such database, or it cannot be read.
        MissingDependencyError: the database's driver is not installed.
    """

    def __init__(self, db_url: str) -> None:
        from tenyson.telemetry.database import open_database

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

    def runs(self, limit: int = 50) -> list[RunRecord]:
        """The runs whose latest attempt started last, newest first."""
        from tenyson.telemetry.tables import runs

        return self._runs(_with_results().order_by(runs.c.started_at.desc()).limit(limit))

    def run(self, run_id: str) -> RunRecord | None:
        """One run; None where the database does not know it."""
        from tenyson.telemetry.tables import runs

        return next(iter(self._runs(_with_results().where(runs.c.run_id == run_id))), None)

    def metrics(self, run_id: str) -> list[Row]:
        """The canonical curve of a run: one row a logged step, `metrics` holding all its numbers.

        Where a resumed attempt repeats steps, its rows stand for those of the attempt before.
        """
        from tenyson.telemetry.tables import metric_records as table

        return self._rows(_of_run(table, run_id).order_by(table.c.step, table.c.id))

    def epochs(self, run_id: str) -> list[Row]:
        """Mean loss and KL of each epoch of an RL run, the latest attempt's where several have it."""
        from tenyson.telemetry.tables import epoch_records as table

        return self._rows(_of_run(table, run_id).order_by(table.c.step, table.c.id))

    def rollouts(
        self,
        run_id: str,
        *,
        phase: str | None = None,
        training: bool | None = None,
        step: int | None = None,
        group: str | None = None,
        worst: bool | None = None,
        limit: int | None = 100,
    ) -> list[Row]:
        """Rollouts of a run: prompt, completion, reward and its components, advantage, and so on.

        The newest first, or with `worst` the lowest (True) or highest (False) reward first. `training` tells what
        was made for training from evaluation inside RL. Steps that a later attempt repeated are left out.
        """
        from sqlalchemy import select

        from tenyson.telemetry.packing import unpacker
        from tenyson.telemetry.tables import prompts
        from tenyson.telemetry.tables import rollout_records as table

        query = (
            select(table, prompts.c.text)
            .join(prompts, prompts.c.id == table.c.prompt)
            .where(table.c.run == _run_number(run_id), ~table.c.superseded)
        )
        wanted = (
            (table.c.phase, phase),
            (table.c.training, training),
            (table.c.step, step),
            (table.c.group_id, group),
        )
        for column, value in wanted:
            if value is not None:
                query = query.where(column == value)
        if worst is None:
            query = query.order_by(table.c.step.desc(), table.c.id.desc())
        else:
            reward = table.c.reward.asc() if worst else table.c.reward.desc()
            query = query.where(table.c.reward.is_not(None)).order_by(reward, table.c.id)
        unpack = unpacker()
        rows = self._rows(query.limit(limit))
        for row in rows:
            row.update(prompt=row.pop("text"), completion=unpack(row["completion"]), run_id=run_id)
            row["truncated"] = row["finish_reason"] == "length"
        return rows

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

        from tenyson.telemetry.tables import rollout_groups as table
        from tenyson.telemetry.tables import runs

        query = select(table, runs.c.run_id).join(runs, runs.c.id == table.c.run).where(~table.c.superseded)
        if run_id is not None:
            query = query.where(table.c.run == _run_number(run_id))
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

        from tenyson.telemetry.tables import rollout_groups as table

        query = (
            select(
                table.c.step,
                (func.sum(table.c.reward_sum) / func.nullif(func.sum(table.c.scored), 0)).label("mean"),
            )
            .where(table.c.run == _run_number(run_id), ~table.c.superseded, table.c.training == training)
            .group_by(table.c.step)
            .order_by(table.c.step)
        )
        return [(row["step"], row["mean"]) for row in self._rows(query) if row["mean"] is not None]

    def attempts(self, run_id: str) -> list[Row]:
        """The attempts of a run, the first one first: code, versions, machine, times and why each ended."""
        from sqlalchemy import select

        from tenyson.telemetry.tables import attempts as table

        return self._rows(select(table).where(table.c.run_id == run_id).order_by(table.c.started_at))

    def losses(self, run_id: str) -> list[Row]:
        """What sinks did not record."""
        from sqlalchemy import select

        from tenyson.telemetry.tables import losses as table

        return self._rows(select(table).where(table.c.run_id == run_id).order_by(table.c.attempt))

    def _runs(self, query: Select[Any]) -> list[RunRecord]:
        return [RunRecord(**row) for row in self._rows(query)]

    def _rows(self, query: Select[Any]) -> list[Row]:
        from sqlalchemy.exc import SQLAlchemyError

        from tenyson.telemetry.database import first_line

        try:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except SQLAlchemyError as error:
            raise TelemetryError(
                f"the database cannot be read: {first_line(error)}",
                place=self._engine.url.render_as_string(hide_password=True),
            ) from error


def _of_run(table: Any, run_id: str) -> Select[Any]:
    from sqlalchemy import select

    return select(table).where(table.c.run == _run_number(run_id), ~table.c.superseded)


def _run_number(run_id: str) -> Any:
    from sqlalchemy import select

    from tenyson.telemetry.tables import runs

    return select(runs.c.id).where(runs.c.run_id == run_id).scalar_subquery()


def _with_results() -> Select[Any]:
    from sqlalchemy import select

    from tenyson.telemetry.tables import attempts, results, runs

    of_latest = (results.c.run_id == runs.c.run_id) & (results.c.attempt == runs.c.attempt)
    of_attempt = (attempts.c.run_id == runs.c.run_id) & (attempts.c.attempt == runs.c.attempt)
    columns = [column for column in runs.c if column.name != "id"]
    joined = runs.outerjoin(results, of_latest).outerjoin(attempts, of_attempt)
    return select(*columns, attempts.c.heartbeat_at, results.c.result).select_from(joined)
