"""The folder of a run: the names of everything in it, so that each is written in one place.

Code that runs on another machine without tenyson has names of its own (`tenyson.cloud.remote.poll`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a job writes.
CONFIG = "config.yaml"
LOG = "log.txt"
EVENTS = "events.jsonl"
PREFLIGHT = "preflight.json"
RESULTS = "results.json"
VERDICTS = "verdicts.jsonl"
EARLIER_VERDICTS = ("verdicts.earlier.jsonl", "verdicts.volume.jsonl")
"""Copies of it that a run brings to another machine, or finds in its volume there."""
JOB_RESULT = "job_result.json"
STOPPED = "stopped.json"
CLOSING = ".closing"
"""Exists while a job whose result is written still stores its telemetry."""
CHECKPOINTS = "checkpoints"
LATEST = "LATEST"
"""In `checkpoints`: names the newest one."""
ADAPTER = "adapter"
MODEL = "model"
SPOOL = "spool"
# What its supervisor, and whoever asks something of it, writes.
PROCESS = "process.json"
EXIT_STATUS = "exit_status.json"
CANCEL = "cancel"
TERMINATED = "terminated"
"""Who ended the job at once."""
CONTROL = "control"
CONTROL_READ = "control.read"
CONTROL_EXPIRED = "control.expired"
SPOT_NOTICE = "spot-notice"
# What belongs to the controller of a rented machine.
CONTROLLER = ".controller"

DEFAULT_OUTPUT_DIR = "./outputs"


@dataclass(frozen=True)
class RunFolder:
    """<run.output_dir>/<run id>, whether or not it exists."""

    path: Path

    @classmethod
    def of(cls, output_dir: str | Path, run_id: str) -> RunFolder:
        """The folder of a run."""
        return cls(Path(output_dir) / run_id)

    @classmethod
    def configured(cls, config: Mapping[str, Any], run_id: str) -> RunFolder:
        """The folder of a run, from its resolved configuration."""
        return cls.of((config.get("run") or {}).get("output_dir", DEFAULT_OUTPUT_DIR), run_id)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / CONFIG

    @property
    def log(self) -> Path:
        """What the job's process printed, of all attempts."""
        return self.path / LOG

    @property
    def events(self) -> Path:
        """Telemetry of the sink `jsonl`, one event a line."""
        return self.path / EVENTS

    @property
    def preflight(self) -> Path:
        """What was checked before the first step."""
        return self.path / PREFLIGHT

    @property
    def checkpoints(self) -> Path:
        """Holds step-N folders and LATEST."""
        return self.path / CHECKPOINTS

    @property
    def latest_checkpoint(self) -> Path:
        """The file that names the newest checkpoint."""
        return self.checkpoints / LATEST

    @property
    def adapter(self) -> Path:
        """The trained PEFT adapter."""
        return self.path / ADAPTER

    @property
    def model(self) -> Path:
        """The trained full model."""
        return self.path / MODEL

    @property
    def results(self) -> Path:
        """Metrics with intervals, and metadata."""
        return self.path / RESULTS

    @property
    def verdicts(self) -> Path:
        """Answers of judges that the run has used, one a line."""
        return self.path / VERDICTS

    @property
    def earlier_verdicts(self) -> tuple[Path, ...]:
        """Copies of those that the run has used on other machines, where it was resumed on this one."""
        return tuple(self.path / name for name in EARLIER_VERDICTS)

    @property
    def stopped(self) -> Path:
        """Why a job that was stopped ends: reason, step, time; written before anything is saved."""
        return self.path / STOPPED

    @property
    def closing(self) -> Path:
        """Exists while a job whose result is written still stores its telemetry."""
        return self.path / CLOSING

    @property
    def job_result(self) -> Path:
        """The JobResult."""
        return self.path / JOB_RESULT

    @property
    def spool(self) -> Path:
        """Telemetry that is not in the database yet."""
        return self.path / SPOOL

    @property
    def process(self) -> Path:
        """The supervisor's and the job's process on this machine."""
        return self.path / PROCESS

    @property
    def exit_status(self) -> Path:
        """How the job's process ended, as its supervisor saw it."""
        return self.path / EXIT_STATUS

    @property
    def controller(self) -> Path:
        """Records of whoever rented the machine that the job runs on; no machine can write there."""
        return self.path / CONTROLLER
