import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tenyson.cloud.local.backend import LocalManager
from tenyson.jobs.spec import JobSpec

RUNNER = (sys.executable, str(Path(__file__).with_name("stand_in_runner.py")))


@dataclass
class StandInJob:
    """A job that does what `do` says."""

    folder: Path
    do: str = "succeed"
    run_id: str = "job"
    training: dict[str, Any] = field(default_factory=dict)

    def spec(self) -> JobSpec:
        run = {"id": self.run_id, "output_dir": str(self.folder)}
        return JobSpec(
            self.run_id,
            "sft",
            "none:None",
            {"run": run, "task": {"args": {"do": self.do}}, "training": self.training},
        )


@pytest.fixture
def job(tmp_path):
    return lambda do="succeed", **more: StandInJob(tmp_path, do, **more)


@pytest.fixture
def manager(tmp_path):
    return LocalManager(tmp_path, runner=RUNNER)
