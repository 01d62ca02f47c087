"""A job that is its configuration alone, for tests of pipelines: some cloud runs it, or `tests/cloud/stand_in_runner.py` does."""

import sys
from pathlib import Path

from tenyson.jobs.spec import JobSpec

RUNNER = (sys.executable, str(Path(__file__).parents[1] / "cloud" / "stand_in_runner.py"))
"""Does what task.args.do says."""


class StandInJob:
    """Without a model or a task."""

    def __init__(self, config, task):
        self.config = config

    def spec(self):
        return JobSpec(self.config["run"]["id"], "sft", "none:None", self.config)
