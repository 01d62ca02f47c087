"""Random faults at random moments of runs at Modal, seeded: no app is left, no attempt runs twice at once, nothing is lost.

    python tests/soak/kill_containers.py --runs 100 --seed 0

Each run is a controller in a process of its own over the stand-in for Modal, with a job that counts steps. What happens to it is drawn:
preemptions, containers that die, a frozen control plane, replies lost, calls refused, and the controller killed (the same script is
started again then).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from tests.fakes.modal_stand_in.client import ModalCloud  # noqa: E402

from tenyson.testing.backends import TICKING  # noqa: E402
from tenyson.testing.ticking import lines  # noqa: E402

STEPS = 60
PATIENCE_SECONDS = 150.0
SETTINGS = {"gpu": None, "cpu": 1.0, "memory": 512, "python": "3.11", "poll_seconds": 0.3}

CONTROLLER = """
import json, sys
from tenyson.jobs.spec import JobSpec
from tenyson_modal.manager import ModalManager
request = json.loads(sys.argv[1])
class Job:
    def spec(self):
        return JobSpec(request["run"], "sft", "none:None", {
            "run": {"id": request["run"], "output_dir": request["folder"]}, "model": {"name": "none"},
            "task": {"args": {"steps": request["steps"], "seconds": 0.08, "save_every": 5}}, "training": {}})
result = ModalManager(**request["settings"]).run(Job())
print("OUTCOME " + json.dumps([result.status, result.failure_reason]), flush=True)
"""

BEFORE: dict[str, dict[str, Any]] = {
    "reply to the call lost": {"rpc": "FunctionMap", "times": 1, "after": True},
    "app refused": {"rpc": "AppCreate", "times": 2},
    "reply to the app lost": {"rpc": "AppCreate", "times": 1, "after": True},
    "publishing refused": {"rpc": "AppPublish", "times": 2},
    "commit refused": {"rpc": "VolumeCommit", "times": 3},
    "reply to a commit lost": {"rpc": "VolumeCommit", "times": 2, "after": True},
    "volume away": {"rpc": "VolumeGetFile2", "times": 6},
    "answers away": {"rpc": "FunctionGetOutputs", "times": 4},
    "claim not answered": {"rpc": "DictUpdate", "times": 1, "after": True},
    "stop refused": {"rpc": "AppStop", "times": 3},
    "reply to the stop lost": {"rpc": "AppStop", "times": 1, "after": True},
}
DURING = ("preempt", "preempt hard", "host", "freeze", "kill controller")


@dataclass
class Trial:
    """What was drawn for one run, and what came of it."""

    seed: int
    faults: list[str] = field(default_factory=list)
    outcome: list[Any] | None = None
    wrong: list[str] = field(default_factory=list)


def trial(cloud: ModalCloud, folder: Path, seed: int) -> Trial:
    """One run with what its seed draws."""
    draw = random.Random(seed)
    one = Trial(seed)
    cloud.clear()
    for name in draw.sample(sorted(BEFORE), draw.choice([0, 0, 1, 1, 2])):
        one.faults.append(name)
        cloud.fail(**BEFORE[name])
    moments = sorted((draw.uniform(0.0, 10.0), draw.choice(DURING)) for _ in range(draw.choice([1, 1, 2, 3])))
    run = f"soak-{seed}"
    settings = SETTINGS | {
        "volume": "soak", "runner": ["{python}", *TICKING], "restarts": 5, "output_dir": str(folder),
    }  # fmt: skip
    request = {"run": run, "folder": str(folder), "steps": STEPS, "settings": settings}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CONTROLLER, json.dumps(request)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
            env=os.environ | cloud.environment(),
        )  # fmt: skip

    running, begun, said = start(), time.monotonic(), ""
    for moment, what in moments:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        if running.poll() is not None:
            break
        one.faults.append(f"{what} at {moment:.1f} s")
        if what == "kill controller":
            running.kill()
            said += running.communicate()[0]
            running = start()
        else:
            _befall(cloud, folder / run, what)
    try:
        said += running.communicate(timeout=PATIENCE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        running.kill()
        one.wrong.append("the run did not end")
        said += running.communicate()[0]
    outcomes = [line for line in said.splitlines() if line.startswith("OUTCOME ")]
    one.outcome = json.loads(outcomes[-1].removeprefix("OUTCOME ")) if outcomes else None
    _judge(one, cloud, folder / run)
    if one.wrong:
        one.wrong.append(said[-3000:])
    return one


def _befall(cloud: ModalCloud, folder: Path, what: str) -> None:
    try:
        call = json.loads((folder / "machine.json").read_text())["call_id"]
    except (OSError, ValueError, KeyError):
        return
    if call is None:
        return
    acts: dict[str, Callable[[], Any]] = {
        "preempt": lambda: cloud.preempt(call, grace=30.0),
        "preempt hard": lambda: cloud.preempt(call, grace=0.5),
        "host": lambda: cloud.kill(call, "host"),
        "freeze": lambda: cloud.freeze(4.0),
    }
    acts[what]()


def _judge(one: Trial, cloud: ModalCloud, folder: Path) -> None:
    if one.outcome is None:
        one.wrong.append("no outcome")
    elif one.outcome[0] != "success":
        one.wrong.append(f"it ended as {one.outcome}")
    else:
        last = {}
        for line in (folder / "log.txt").read_text().splitlines():
            if line.startswith("step "):
                last[int(line.split()[1])] = line
        if [last[step] for step in sorted(last)] != lines(STEPS):
            one.wrong.append("the log is not that of the job")
    if overlaps := cloud.overlaps():
        one.wrong.append(f"ran twice at once: {overlaps}")
    left = [app["id"] for app in cloud.apps() if app["state"] not in ("stopped", "disabled")]
    if left:
        one.wrong.append(f"apps left: {left}")
        for app in left:
            cloud.stop(app)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed, faults, statuses = [], Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        cloud = ModalCloud(Path(folder) / "modal")
        try:
            for number in range(options.runs):
                one = trial(cloud, Path(folder), options.seed * 100_000 + number)
                faults.update(fault.partition(" at ")[0] for fault in one.faults)
                statuses[one.outcome[0] if one.outcome else "none"] += 1
                if one.wrong:
                    failed.append(one)
                    print(
                        f"seed {one.seed}: {'; '.join(one.faults)}\n  " + "\n  ".join(one.wrong), flush=True
                    )
                if (number + 1) % 20 == 0:
                    print(f"{number + 1} runs, {len(failed)} wrong", flush=True)
            containers = len(cloud.containers())
        finally:
            cloud.close()
    print(
        f"{options.runs} runs, {containers} containers, {dict(statuses)}; faults: {dict(faults.most_common())}"
    )
    print(f"{len(failed)} runs went wrong" + (f": seeds {[one.seed for one in failed]}" if failed else ""))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
