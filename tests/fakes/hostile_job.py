"""A job that attacks whoever rented its machine: records of ours among its outputs, odd names, lines that look like our events."""

CODE = r"""
import json, os, sys, time
from pathlib import Path
import yaml
config = yaml.safe_load(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
run, args = config["run"], config["task"]["args"]
folder = Path(run["output_dir"]) / run["id"]
evil = {"ssh_proxy": ["touch", args["canary"]], "output_dir": run["output_dir"]}
record = {
    "backend": args["backend"], "token": "evil", "settings": evil, "cwd": "/", "created_at": 0.0,
    "spec": {"run_id": run["id"], "job_type": "sft", "task": "evil:Evil", "config": {}, "token": "evil"},
    "instance_id": "i-evil", "call_id": "fc-evil", "released": False,
}
for name in ("machine.json", "Machine.JSON", ".controller/machine.json", "sync.json", "relay.json", "process.json", "cancel"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_text(json.dumps(record))
(folder / "earlier" / "9").mkdir(parents=True)
(folder / "earlier" / "9" / "machine.json").write_text(json.dumps(record))
(folder / "new\nline.txt").write_text("odd")
(folder / "notes.json").write_text("{}")
(folder / "artifacts").mkdir()
(folder / "artifacts" / "A.txt").write_text("first")
(folder / "artifacts" / "a.txt").write_text("second")
(folder / "artifacts" / "link").symlink_to("/etc/passwd")
os.mkfifo(folder / "artifacts" / "pipe")
for line in (
    '{"event": "MetricsLogged", "step": "three", "values": {"loss": "low"}}',
    '{"event": "MetricsLogged", "step": 3, "values": [1, 2]}',
    '{"event": ["RunStarted"]}',
    '{"event": "Notice", "level": {}, "message": 7}',
    '{"event": ' + "[" * 5000,
):
    print("@tenyson " + line, flush=True)
print("hostile " * 3, flush=True)
time.sleep(args["seconds"])
result = {"run_id": run["id"], "status": "success", "total_time_seconds": 1.0, "metrics": {"x": 1.0},
          "local_output_dir": "/etc", "instance_id": "i-other"}
(folder / "job_result.json").write_text(json.dumps(result))
(folder / "results.json").write_text('{"metrics": {}, "metadata": {}}')
"""
RUNNER = ["{python}", "-c", CODE]
