"""Real trainings of the tiny Wordle model, for tests of rented machines, and what must hold of them wherever they ran."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tenyson.jobs.result import JobResult
from tenyson.jobs.sft import SFTJob
from tenyson.tasks.load import load_task

BIG = {"layers": 2, "width": 64, "heads": 2, "intermediate": 128}
SMALL = {"layers": 1, "width": 32, "heads": 2, "intermediate": 64}


def exact_training(run: str, folder: Path, database: Path, *, steps: int) -> SFTJob:
    """In fp32, with every loss logged; equal seeds give equal bits."""
    training = {"max_steps": steps, "batch_size": 16, "logging_steps": 1, "save_steps": 25}
    return _job(run, folder, database, BIG, 4096, training)


def endless_training(run: str, folder: Path, database: Path) -> SFTJob:
    """Goes on until somebody stops it."""
    training = {"max_steps": 100_000, "epochs": 1000, "batch_size": 8, "logging_steps": 5, "save_steps": 50}
    return _job(run, folder, database, SMALL, 2048, training)


def assert_same_training(folder: Path, database: Path, steps: int) -> None:
    """Of the runs `whole` and `broken`, the second of which took two attempts: every loss and the final weights."""
    with sqlite3.connect(database) as connection:
        query = "SELECT step, loss FROM sft_metrics WHERE run_id = ? AND loss IS NOT NULL ORDER BY step"
        curves = {name: connection.execute(query, (name,)).fetchall() for name in ("whole", "broken")}
        attempts = connection.execute("SELECT count(*) FROM attempts WHERE run_id = 'broken'").fetchone()
    assert attempts == (2,)
    assert curves["broken"] == curves["whole"]
    assert len(curves["whole"]) == steps
    weights = {
        name: (folder / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "broken")
    }
    assert weights["broken"] == weights["whole"]


def ask_to_stop(run: str, database: Path) -> None:
    """`tenyson stop`, which writes a row once the database here knows the run."""
    deadline = time.monotonic() + 60
    command = [sys.executable, "-m", "tenyson", "stop", run, "--db-url", f"sqlite:///{database}"]
    while (told := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        assert time.monotonic() < deadline, told.stderr


def assert_stopped_as_asked(result: JobResult, database: Path) -> None:
    """The row says at which step; the model is saved."""
    assert (result.status, result.stop_reason) == ("success", "manual stop"), result
    with sqlite3.connect(database) as connection:
        query = "SELECT status, applied_step FROM run_controls WHERE verb = 'stop'"
        rows = connection.execute(query).fetchall()
    assert [status for status, _ in rows] == ["applied"]
    assert rows[0][1] > 50
    assert result.local_output_dir is not None
    assert (Path(result.local_output_dir) / "model").is_dir()


def _job(
    run: str, folder: Path, database: Path, model: dict[str, int], games: int, training: dict[str, Any]
) -> SFTJob:
    task = {"words": "tiny", "style": "compact", "sft_games": games, "sft_eval_games": 16}
    config = {
        "run": {"id": run, "seed": 7, "output_dir": str(folder)},
        "model": {"factory": "tenyson_wordle.tiny:build", "factory_args": model, "dtype": "float32"},
        "task": {"name": "wordle", "args": task},
        "training": {"max_length": 128, **training},
        "telemetry": {"db_url": f"sqlite:///{database}"},
    }
    return SFTJob(config, load_task("wordle"))
