"""Stands in for `python -m tenyson.runner` where a long job is wanted and no training: counts steps, writes real checkpoints,
goes on from the latest, saves and ends on SIGTERM or a spot notice. What step N gives depends on every step before it.

task.args: steps, seconds (of a step), save_every, pad (bytes in each checkpoint).
"""

import argparse
import hashlib
import json
import signal
import sys
import time
from pathlib import Path

import yaml

from tenyson.jobs.publication import check, make_draft, newest_first, publish
from tenyson.jobs.result import JobResult
from tenyson.telemetry.control.file import has_notice

parser = argparse.ArgumentParser()
for flag in ("--job-type", "--config", "--task-module"):
    parser.add_argument(flag, required=True)
flags = parser.parse_args()
config = yaml.safe_load(Path(flags.config).read_text())
run_id = config["run"]["id"]
folder = Path(config["run"]["output_dir"]) / run_id
wanted = {"steps": 20, "seconds": 0.1, "save_every": 5, "pad": 0} | config["task"]["args"]
checkpoints = folder / "checkpoints"
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append("SIGTERM"))


def save(step, value):
    if (checkpoints / f"step-{step}").exists():
        return
    draft = make_draft(checkpoints / f"step-{step}")
    (draft / "state.json").write_text(json.dumps({"step": step, "value": value}))
    (draft / "pad").write_bytes(b"\0" * wanted["pad"])
    publish(draft, checkpoints / f"step-{step}")


def end(status, code, **more):
    JobResult(run_id, status, 1.0, metrics={"steps": step}, **more).save(folder / "job_result.json")
    sys.exit(code)


step, value = 0, ""
if (config.get("training") or {}).get("resume_from_checkpoint") == "latest":
    for path in newest_first(checkpoints):
        if check(path) is None:
            state = json.loads((path / "state.json").read_text())
            step, value = state["step"], state["value"]
            print(f"resuming from step {step}", flush=True)
            break
while step < wanted["steps"]:
    if has_notice(folder):
        stop.append("spot notice")
    if stop:
        (folder / "stopped.json").write_text(
            json.dumps({"reason": stop[0], "step": step, "time": time.time()})
        )
        save(step, value)
        print(f"{stop[0]}: saved at step {step}", flush=True)
        end("stopped", 130, stop_reason=stop[0], spot_interruption=True if stop[0] == "spot notice" else None)
    time.sleep(wanted["seconds"])
    step += 1
    value = hashlib.sha256(f"{value} {step}".encode()).hexdigest()
    print(f"step {step} {value[:12]}", flush=True)
    if step % wanted["save_every"] == 0:
        save(step, value)
(folder / "results.json").write_text(json.dumps({"metrics": {}, "metadata": {"value": value}}))
end("success", 0)
