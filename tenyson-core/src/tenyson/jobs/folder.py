"""The job folder: where a job writes everything, and how a later job finds it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenyson.jobs.runtime.lingering import CLOSING
from tenyson.telemetry.events import strict_json


@dataclass(frozen=True)
class JobFolder:
    """The folder of one run: <run.output_dir>/<run id>."""

    path: Path

    @classmethod
    def of(cls, output_dir: str | Path, run_id: str) -> JobFolder:
        """The folder of a run, whether or not it exists yet."""
        return cls(Path(output_dir) / run_id)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Holds step-N folders and LATEST."""
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The trained PEFT adapter."""
        return self.path / "adapter"

    @property
    def model(self) -> Path:
        """The trained full model."""
        return self.path / "model"

    @property
    def results(self) -> Path:
        """Metrics with intervals, and metadata."""
        return self.path / "results.json"

    @property
    def stopped(self) -> Path:
        """Why a job that was stopped ends: reason, step, time; written before anything is saved."""
        return self.path / "stopped.json"

    @property
    def closing(self) -> Path:
        """Is there while a job whose result is written still brings its telemetry home."""
        return self.path / CLOSING

    @property
    def job_result(self) -> Path:
        """The JobResult."""
        return self.path / "job_result.json"

    def write_json(self, path: Path, data: dict[str, Any]) -> None:
        """Write strict JSON, replacing the file in one move."""
        strict_json.write(path, data)
