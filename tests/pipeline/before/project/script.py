"""A pipeline of a script's own: a training, and an evaluation of what it has trained."""

import sys
from pathlib import Path

from task import ThreeTimes

from tenyson.cloud.local import LocalManager
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.sft import SFTJob
from tenyson.pipeline import run_pipeline

COMMON = {
    "model": {"factory": "tenyson.testing.tiny:build"},
    "training": {"max_steps": 2, "learning_rate": 0.1},
    "evaluation": {"samples": 4},
}

if __name__ == "__main__":
    result = run_pipeline(
        [
            ("train", COMMON, SFTJob, ThreeTimes()),
            ("measure", COMMON, EvalJob, ThreeTimes(), "train"),
        ],
        LocalManager(runner=[sys.executable, "runner.py"]),
        on_failure="abort",
        log_file=Path("failures.log"),
    )
    print(result.pipeline_id, result.status)
