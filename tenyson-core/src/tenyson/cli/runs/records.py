"""Records of runs for listings: what the telemetry database and the job folders know, side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenyson.cli.options import LATEST
from tenyson.cli.runs.databases import find_databases, is_there, job_folders
from tenyson.cli.terminal.format import as_float
from tenyson.core.run_folder import RunFolder
from tenyson.errors import TenysonError
from tenyson.jobs.data.results_file import read_results
from tenyson.jobs.result import JobResult
from tenyson.telemetry.read.listing import list_runs
from tenyson.telemetry.read.record import RunRecord, listed_fields

UNFINISHED = "unfinished"
"""A job folder without a result: the run is still running, or it was killed."""
LOST = "lost"
"""Running according to the database, but without a heartbeat for SILENT_SECONDS: it was killed, or its machine is unreachable."""
SILENT_SECONDS = 60.0

_TELLING = ("win_rate", "accuracy", "eval_loss", "reward", "loss", "train_loss")


@dataclass(frozen=True)
class Record:
    """One run."""

    run_id: str
    job: str
    task: str
    status: str
    """ "running", "lost", "success", "stopped", "failed" or "unfinished"."""
    started: float | None
    """Seconds since the epoch."""
    seconds: float | None
    """How long it took, or has taken so far."""
    metrics: Mapping[str, float]
    folder: str
    config: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    """The JobResult's fields."""
    attempt: int = 1
    """The latest."""
    results: Mapping[str, Any] = field(default_factory=dict)
    """results.json: metrics with counts and intervals, and metadata."""
    db_url: str | None = None
    """The database that has it; None for one that only its folder knows."""
    listed: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of `tenyson runs`, which only a database has (`tenyson.telemetry.read.record.listed`)."""

    @property
    def key_metric(self) -> str:
        """The most telling number, as "name value"."""
        names = [name for name in _TELLING if name in self.metrics] + list(self.metrics)
        return f"{names[0]} {self.metrics[names[0]]:.4g}" if names else ""


@dataclass(frozen=True)
class Listing:
    """Runs of the databases and of the job folders, newest first."""

    records: list[Record]
    known: int
    """How many there are, also beyond those that were asked for."""
    databases: list[str]
    """URLs of those that were read."""


def read_records(db_url: str | None, output_dir: Path, *, limit: int | None) -> Listing:
    """The latest runs, or all of them.

    Raises:
        TelemetryError: the database was named and there is none, or it cannot be read.
    """
    databases = find_databases(db_url, output_dir)
    found: dict[str, Record] = {}
    for database in databases:
        for run in list_runs(database.url, limit) if database.names else ():
            found.setdefault(run.run_id, record_of_database(run, database.url))
    names = {name for database in databases for name in database.names}
    others = list(job_folders(output_dir, without=names).values())
    # Reading YAML takes long: only what can come among the first.
    others.sort(key=_began, reverse=True)
    records = [*found.values(), *map(record_of_folder, others[:limit])]
    records.sort(key=lambda record: record.started or 0.0, reverse=True)
    return Listing(records[:limit], len(names) + len(others), [database.url for database in databases])


def newest_if_latest(name: str, db_url: str | None, output_dir: Path) -> str:
    """For "latest" the name of the run that started last, of the databases and the job folders; else the name itself."""
    newest = read_records(db_url, output_dir, limit=1).records if name == LATEST else []
    return newest[0].run_id if newest else name


def record_of_database(run: RunRecord, url: str) -> Record:
    """What a listing shows of a run that a database has."""
    end = run.finished_at or time.time()
    return Record(
        run_id=run.run_id,
        job=run.job_type,
        task=run.task,
        status=LOST if is_lost(run) else run.status,
        started=run.started_at,
        seconds=end - run.started_at,
        metrics=_finite_or_not((run.result or {}).get("metrics") or {}),
        folder=run.output_dir,
        config=run.config,
        result=run.result,
        attempt=run.attempt,
        db_url=url,
        listed={name: getattr(run, name) for name in listed_fields()},
    )


def is_lost(run: RunRecord) -> bool:
    """Whether a run that has not ended has been silent for too long."""
    heard = max(run.heartbeat_at or 0.0, run.started_at)
    return run.status == "running" and time.time() - heard > SILENT_SECONDS


def _began(folder: RunFolder) -> float:
    """A job writes its configuration first of all."""
    try:
        return folder.config.stat().st_mtime
    except OSError:  # removed just now
        return 0.0


def record_of_folder(folder: RunFolder) -> Record:
    """What a listing shows of a run that only a folder has."""
    import yaml

    from tenyson.config.yamltext import BaseLoader

    try:
        config = yaml.load(folder.config.read_text(encoding="utf-8"), BaseLoader)
    except (OSError, ValueError, yaml.YAMLError):
        config = None
    config = config if isinstance(config, dict) else {}
    results = results_of(folder.results)
    try:
        result = JobResult.load(folder.job_result) if is_there(folder.job_result) else None
    except TenysonError:
        result = None
    config = {name: section for name, section in config.items() if isinstance(section, dict | None)}
    task = config.get("task") or {}
    return Record(
        run_id=folder.path.name,
        job=results.get("job_type", ""),
        task=results.get("task") or task.get("name") or task.get("module") or "",
        status=result.status if result else UNFINISHED,
        started=_began(folder),
        seconds=result.total_time_seconds if result else None,
        metrics=_finite_or_not(result.metrics) if result else {},
        folder=str(folder.path),
        config=config,
        result=vars(result) if result else None,
        results=results,
    )


def _finite_or_not(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: number for name, value in metrics.items() if (number := as_float(value)) is not None}


def results_of(path: Path) -> dict[str, Any]:
    """The metrics of an evaluation's results.json; empty where it cannot be read."""
    if not is_there(path):
        return {}
    try:
        return read_results(path)
    except TenysonError:  # `damage` tells
        return {}


def damage(folder: str) -> list[str]:
    """What is wrong with the files of results in a job's folder, a line each."""
    found = []
    files = RunFolder(Path(folder))
    for path, read in ((files.results, read_results), (files.job_result, JobResult.load)):
        try:
            if is_there(path):
                read(path)
        except TenysonError as error:
            found.append(str(error))
    return found
