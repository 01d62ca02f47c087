"""Stands in for `python -m tenyson.runner` in projects of tests: leaves at once what a job leaves, or waits, or fails.

A training leaves its learning rate as its model, and an evaluation says which model it read. In the project's folder a file `hold-LABEL`
keeps a run whose id ends so at work until the file is gone, and `fail-LABEL` lets it fail.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import yaml

parser = argparse.ArgumentParser()
for flag in ("--job-type", "--config", "--task-module"):
    parser.add_argument(flag, required=True)
flags = parser.parse_args()
config = yaml.safe_load(Path(flags.config).read_text())
run_id, folder, begun = config["run"]["id"], Path(flags.config).parent, time.time()
label = run_id.rpartition("-")[2]
with Path("starts.txt").open("a") as starts:
    starts.write(f"{run_id}\n")
if config["training"]["save_steps"] and flags.job_type != "eval":
    (folder / "checkpoints" / "step-1").mkdir(parents=True, exist_ok=True)
while Path(f"hold-{label}").exists():
    time.sleep(0.02)
if Path(f"fail-{label}").exists():
    sys.exit("the job of the test fails")
if flags.job_type == "eval":
    model = Path(config["model"]["name"] or "-") / "weights"
    metrics = {"read": float(model.read_text()) if model.is_file() else -1.0}
else:
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "weights").write_text(str(config["training"]["learning_rate"]))
    metrics = {"loss": 1.0}
told = {name: {"value": value, "n": 1, "low": None, "high": None} for name, value in metrics.items()}
(folder / "results.json").write_text(
    json.dumps(
        {"run_id": run_id, "job_type": flags.job_type, "metrics": told, "metadata": {}, "task": "echo"}
    )
)
result = {
    "run_id": run_id, "status": "success", "total_time_seconds": time.time() - begun + os.getpid(), "metrics": metrics,
}  # fmt: skip
(folder / "job_result.json").write_text(json.dumps(result))
