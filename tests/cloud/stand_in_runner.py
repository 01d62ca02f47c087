"""Stands in for `python -m tenyson.runner`: takes the same flags, and does what task.args.do says."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

parser = argparse.ArgumentParser()
for flag in ("--job-type", "--config", "--task-module"):
    parser.add_argument(flag, required=True)
flags = parser.parse_args()
config = yaml.safe_load(Path(flags.config).read_text())
run_id = config["run"]["id"]
folder = Path(config["run"]["output_dir"]) / run_id
do = config.get("task", {}).get("args", {}).get("do", "succeed")


def event(kind, **fields):
    print(
        "@tenyson " + json.dumps({"event": kind, "v": 1, "run_id": run_id, "time": time.time(), **fields}),
        flush=True,
    )


def finish(status, code, **more):
    result = {
        "run_id": run_id,
        "status": status,
        "total_time_seconds": 1.0,
        "metrics": {"win_rate": 0.5},
        **more,
    }
    (folder / "results.json").write_text(
        json.dumps(
            {"metrics": {"win_rate": {"value": 0.5, "n": 100, "low": 0.4, "high": 0.6}}, "metadata": {}}
        )
    )
    (folder / "job_result.json").write_text(json.dumps(result))
    sys.exit(code)


event("RunStarted", job_type=flags.job_type, task="t", output_dir=str(folder), total_steps=5)
print("an ordinary line", flush=True)
if do == "slow":
    time.sleep(3.0)
if do in ("succeed", "slow"):
    for step in range(1, 6):
        event("MetricsLogged", phase="sft", step=step, total_steps=5, values={"loss": 1.0 / step})
    (folder / "adapter").mkdir(exist_ok=True)
    finish("success", 0)
elif do == "crash":
    raise RuntimeError("the crash of the test, with " + os.environ.get("CANARY_TOKEN", "nothing"))
elif do == "no-result":
    sys.exit(0)
elif do == "half-result":
    (folder / "job_result.json").write_text('{"run_id": ')
    sys.exit(0)
elif do == "foreign-result":
    run_id = "another"
    finish("success", 0)
elif do == "lie":
    finish("success", 1)
elif do == "user-error":
    print("error: training.learning_rat: unknown key", file=sys.stderr)
    sys.exit(2)
elif do == "memory":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(1 << 31)
elif do == "disk":
    raise OSError(28, os.strerror(28))
elif do == "kill-self":
    os.kill(os.getpid(), signal.SIGKILL)
elif do == "leave-helper":
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / "helper").write_text(str(helper.pid))
    finish("success", 0)
elif do in ("wait", "stubborn", "deaf", "flaky"):
    if do == "flaky" and (folder / "earlier").exists():
        finish("success", 0, hf_revision=str(config.get("training", {}).get("resume_from_checkpoint")))
    if do == "flaky":
        checkpoint = folder / "checkpoints" / "step-3"
        checkpoint.mkdir(parents=True)
        raise RuntimeError("the first attempt fails")
    asked = []
    if do != "deaf":
        signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    print("waiting", flush=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.02)
        if asked and do == "wait":
            print(f"saved after {len(asked)} signal", flush=True)
            finish("stopped", 130)
