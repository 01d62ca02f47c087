"""A job that writes its result and then does not exit: `status`, and whether it hears SIGTERM, come from task.args."""

import sys

CODE = r"""
import json, signal, sys, time
from pathlib import Path
import yaml
config = yaml.safe_load(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
run, args = config["run"], config["task"]["args"]
folder = Path(run["output_dir"]) / run["id"]
print("step 1 ", flush=True)
if args.get("deaf"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if args.get("closing"):
    (folder / ".closing").touch()
result = {"run_id": run["id"], "status": args["status"], "total_time_seconds": 1.0, "metrics": {"x": 1.0}}
(folder / "job_result.json").write_text(json.dumps(result))
(folder / "results.json").write_text('{"metrics": {}, "metadata": {}}')
print("written", flush=True)
time.sleep(args.get("seconds", 600))
"""
RUNNER = (sys.executable, "-c", CODE)
"""On this machine."""
RUNNER_THERE = ["{python}", "-c", CODE]
