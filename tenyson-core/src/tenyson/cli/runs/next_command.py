"""What to do next about a run: one command that can be copied and works, or none."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.core.run_folder import RunFolder
from tenyson.errors import TenysonError
from tenyson.jobs.spec import resume_reference
from tenyson.plugins.job_kinds import recorded_kind

if TYPE_CHECKING:
    from tenyson.cli.runs.records import Record
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import PipelineRecord


def next_command(record: Record, db_url: str | None, output_dir: Path) -> str | None:
    """The command, with the options that the run was found by."""
    if not record.folder:
        return None
    if record.status == "running":
        return _join("stop", record.run_id, *_where(db_url, output_dir))
    if record.status == "success":
        trained = bool(record.job) and recorded_kind(record.job).trains
        return _evaluate(record) if trained else _look_at_rollouts(record, db_url)
    return _of_pipeline(record, db_url) or _run_again(record)


def _evaluate(record: Record) -> str | None:
    """Evaluate what was trained, by the training's own configuration, under a name of its own."""
    from tenyson.cli.runs.databases import is_there

    folder = Path(record.folder)
    left = next((kind for kind in ("adapter", "model") if is_there(folder / kind)), None)
    if left is None or not is_there(RunFolder(folder).config):
        return None
    model = record.config.get("model") or {}
    changes = {}
    if left == "adapter":
        changes["model.adapter"] = str(folder / left)
    else:
        changes["model.name"] = str(folder / left)
        changes |= {f"model.{key}": "null" for key in ("revision", "factory", "adapter") if model.get(key)}
        changes |= {"model.factory_args": "{}"} if model.get("factory_args") else {}
    changes |= {"peft": "null"} if record.config.get("peft") is not None else {}
    if resume_reference(record.config):
        changes["training.resume_from_checkpoint"] = "null"
    options = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    return _join(
        "run", "--job", "eval", *_task(record), "--config", str(RunFolder(folder).config),
        "--run-id", f"{record.run_id}-eval", *options,
    )  # fmt: skip


def _look_at_rollouts(record: Record, db_url: str | None) -> str | None:
    from tenyson.telemetry.read.store import Store

    if record.db_url is None:
        return None
    try:
        with Store(record.db_url) as store:
            known = store.run(record.run_id) is not None and bool(store.rollouts(record.run_id, limit=1))
    except TenysonError:
        return None
    return _join("rollouts", record.run_id, *_where(db_url)) if known else None


def _of_pipeline(record: Record, db_url: str | None) -> str | None:
    """Continue the pipeline whose step the run is: another run in its folder would be nobody's."""
    from tenyson.cli.options import database_url
    from tenyson.pipeline.journal.journal import Journal

    try:
        with Journal(database_url(db_url), read_only=True) as journal:
            own = [one for one in journal.attempts_of_run(record.run_id) if one.reused_from is None]
            pipeline = journal.pipeline(own[-1].pipeline_id) if own else None
            if pipeline is None:
                return None
            return _continue(journal, pipeline, own[-1].label, db_url)
    except TenysonError:
        return None


def _continue(journal: Journal, pipeline: PipelineRecord, label: str, db_url: str | None) -> str | None:
    from tenyson.pipeline.journal.lease import is_gone

    where = _where(db_url)
    step = journal.step(pipeline.id, label)
    asked = [one for one in journal.decisions(pipeline.id) if one.label == label and one.answer is None]
    if step.state == "WAITING_HUMAN" and asked:
        return _join("decide", pipeline.id, label, asked[-1].choices[0], *where)
    held = pipeline.lease_until is not None and pipeline.lease_until > journal.now()
    if held and not is_gone(pipeline.holder):
        return _join("pipelines", pipeline.id, *where)
    if pipeline.request.backend is None:
        return None  # only the script that began it can continue it
    again = ["--again"] if step.state == "FAILED" or pipeline.status in ("failed", "success") else []
    return _join("attach", pipeline.id, *again, *where)


def _run_again(record: Record) -> str:
    from tenyson.cli.runs.databases import is_there

    folder = Path(record.folder)
    resumed = recorded_kind(record.job).trains and is_there(RunFolder(folder).latest_checkpoint)
    return _join(
        "run", *(["--job", record.job] if record.job else []), "--config", str(RunFolder(folder).config),
        "--run-id", record.run_id, *(["--resume-from-checkpoint", "latest"] if resumed else []), *_task(record),
    )  # fmt: skip


def _task(record: Record) -> list[str]:
    """The task, where the run's configuration does not name it, as that of a job which was started with --task-module."""
    task: Mapping[str, Any] = record.config.get("task") or {}
    named = task.get("name") or task.get("module")
    return [] if named or not record.task else ["--task", record.task]


def _where(db_url: str | None, output_dir: Path | None = None) -> list[str]:
    options = ["--db-url", db_url] if db_url else []
    if output_dir is not None and output_dir != Path("outputs"):
        options += ["--output-dir", str(output_dir)]
    return options


def _join(*parts: str) -> str:
    return shlex.join(["tenyson", *parts])
