"""A job that a manager takes, for tests of rented machines: `tenyson.testing.ticking` or another stand-in for the runner runs it."""

from dataclasses import dataclass, field
from pathlib import Path

from tenyson.jobs.spec import JobSpec


@dataclass
class Job:
    """Without a model or a task."""

    folder: Path
    args: dict
    run_id: str = "job"
    training: dict = field(default_factory=dict)

    def spec(self, token=""):
        config = {
            "run": {"id": self.run_id, "output_dir": str(self.folder)},
            "model": {"name": "none"},
            "task": {"args": self.args},
            "training": self.training,
        }
        return JobSpec(self.run_id, "sft", "none:None", config, token=token)
