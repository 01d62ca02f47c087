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
        from sqlalchemy import select

        from tenyson.telemetry.tables import sft_metrics, step_metrics

        rows: list[Row] = []
        for table in (sft_metrics, step_metrics):
            rows += self._rows(select(table).where(table.c.run_id == run_id).order_by(table.c.id))
        return canonical(rows)

    def epochs(self, run_id: str) -> list[Row]:
        """Mean loss and KL of each epoch of an RL run, the latest attempt's where several have it."""
        from sqlalchemy import select

        from tenyson.telemetry.tables import epoch_metrics as table

        return canonical(self._rows(select(table).where(table.c.run_id == run_id).order_by(table.c.id)))

    def rollouts(
        self,
        run_id: str,
        *,
        phase: str | None = None,
        training: bool | None = None,
        step: int | None = None,
        limit: int = 100,
    ) -> list[Row]:
        """Rollouts of a run, the newest first: prompt, completion, reward and its components, advantage.

        Rows of all attempts. `training` tells what was trained on from evaluation inside RL.
        """
        from sqlalchemy import select

        from tenyson.telemetry.tables import rollouts as table

        query = select(table).where(table.c.run_id == run_id)
        for column, value in ((table.c.phase, phase), (table.c.training, training), (table.c.step, step)):
            if value is not None:
                query = query.where(column == value)
        return self._rows(query.order_by(table.c.id.desc()).limit(limit))

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


def canonical(rows: list[Row]) -> list[Row]:
    """Rows in the order of their steps; an attempt's rows end where the next attempt begins."""
    kept: list[Row] = []
    for attempt in sorted({row["attempt"] for row in rows}):
        own = [row for row in rows if row["attempt"] == attempt]
        first = min(row["step"] for row in own)
        kept = [row for row in kept if row["step"] < first] + own
    return sorted(kept, key=lambda row: row["step"])


def _with_results() -> Select[Any]:
    from sqlalchemy import select

    from tenyson.telemetry.tables import results, runs

    of_latest = (results.c.run_id == runs.c.run_id) & (results.c.attempt == runs.c.attempt)
    return select(runs, results.c.result).select_from(runs.outerjoin(results, of_latest))
