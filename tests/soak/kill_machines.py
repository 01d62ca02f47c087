"""Random faults at random moments of runs on rented machines, seeded: no machine is left, no attempt is launched twice, no line lost.

    python tests/soak/kill_machines.py --runs 200 --seed 0

Each run is a controller in a process of its own over the stand-in for EC2, with a job that counts steps. What happens to it is drawn:
interruptions with and without notice, crashes, cut and stalled connections, replies lost, calls refused, throttled, lied about, and
the controller killed (the same script is started again then).
"""

from __future__ import annotations

import argparse
import hashlib
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

from tests.fakes.ec2.client import StandIn  # noqa: E402

STEPS = 40
PATIENCE_SECONDS = 150.0

CONTROLLER = """
import json, sys
from pathlib import Path
from tenyson.jobs.spec import JobSpec
from tenyson_aws.manager import AWSManager
request = json.loads(sys.argv[1])
class Job:
    def spec(self):
        return JobSpec(request["run"], "sft", "none:None", {
            "run": {"id": request["run"], "output_dir": request["folder"]}, "model": {"name": "none"},
            "task": {"args": {"steps": request["steps"], "seconds": 0.08, "save_every": 5}}, "training": {}})
result = AWSManager(**request["settings"]).run(Job())
print("OUTCOME " + json.dumps([result.status, result.failure_reason]), flush=True)
"""

BEFORE: dict[str, list[dict[str, Any]]] = {
    "reply to the launch lost": [{"action": "CreateFleet", "effect": "drop", "times": 1}],
    "launch throttled": [
        {"action": "CreateFleet", "effect": "error", "code": "RequestLimitExceeded", "times": 2}
    ],
    "one zone without capacity": [
        {
            "action": "CreateFleet",
            "effect": "capacity",
            "code": "InsufficientInstanceCapacity",
            "where": {"zone": "us-east-1a"},
        }
    ],
    "instance not known yet": [
        {
            "action": "DescribeInstances",
            "effect": "error",
            "code": "InvalidInstanceID.NotFound",
            "times": 3,
            "where": {"by": "id"},
        }
    ],
    "provider away": [
        {"action": "DescribeInstances", "effect": "error", "code": "Unavailable", "times": 8, "skip": 2}
    ],
    "terminate throttled": [
        {"action": "TerminateInstances", "effect": "error", "code": "RequestLimitExceeded", "times": 3}
    ],
    "terminate lies": [{"action": "TerminateInstances", "effect": "lie", "times": 2}],
    "reply to terminate lost": [{"action": "TerminateInstances", "effect": "drop", "times": 1}],
}
DURING = ("notice", "reclaim", "crash", "cut", "stall", "kill controller")


@dataclass
class Trial:
    """What was drawn for one run, and what came of it."""

    seed: int
    faults: list[str] = field(default_factory=list)
    outcome: list[Any] | None = None
    wrong: list[str] = field(default_factory=list)


def curve(steps: int) -> list[str]:
    """The lines of an uninterrupted job."""
    value, lines = "", []
    for step in range(1, steps + 1):
        value = hashlib.sha256(f"{value} {step}".encode()).hexdigest()
        lines.append(f"step {step} {value[:12]}")
    return lines


def trial(ec2: StandIn, folder: Path, seed: int) -> Trial:
    """One run with what its seed draws."""
    draw = random.Random(seed)
    one = Trial(seed)
    ec2.do("clear")
    before = len(ec2.state["launched"])
    for name in draw.sample(sorted(BEFORE), draw.choice([0, 0, 1, 1, 2])):
        one.faults.append(name)
        for rule in BEFORE[name]:
            ec2.do("rule", **rule)
    moments = sorted((draw.uniform(0.0, 9.0), draw.choice(DURING)) for _ in range(draw.choice([1, 1, 2, 3])))
    run = f"soak-{seed}"
    request = {
        "run": run,
        "folder": str(folder),
        "steps": STEPS,
        "settings": ec2.settings
        | {
            "runner": ec2.runners["ticking"],
            "use_spot": True,
            "max_preemptions": 5,
            "output_dir": str(folder),
        },
    }

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CONTROLLER, json.dumps(request)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
            env=os.environ | ec2.environment,
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
            _befall(ec2, folder / run, what)
    try:
        said += running.communicate(timeout=PATIENCE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        running.kill()
        one.wrong.append("the run did not end")
        said += running.communicate()[0]
    outcomes = [line for line in said.splitlines() if line.startswith("OUTCOME ")]
    one.outcome = json.loads(outcomes[-1].removeprefix("OUTCOME ")) if outcomes else None
    _judge(one, ec2, folder / run, before)
    if one.wrong:
        one.wrong.append(said[-3000:])
    return one


def _befall(ec2: StandIn, folder: Path, what: str) -> None:
    try:
        instance = json.loads((folder / "machine.json").read_text())["instance_id"]
    except (OSError, ValueError, KeyError):
        return
    if instance is None:
        return
    acts: dict[str, Callable[[], Any]] = {
        "notice": lambda: ec2.do("notice", instance_id=instance),
        "reclaim": lambda: ec2.do("reclaim", instance_id=instance),
        "crash": lambda: ec2.do("crash", instance_id=instance),
        "cut": lambda: ec2.do("wire", instance_id=instance, cut=True),
        "stall": lambda: (
            ec2.do("wire", instance_id=instance, stalled=True),
            time.sleep(2),
            ec2.do("wire", instance_id=instance, stalled=False),
        ),
    }
    acts[what]()


def _judge(one: Trial, ec2: StandIn, folder: Path, before: int) -> None:
    crashed = any(fault.startswith("crash") for fault in one.faults)
    if one.outcome is None:
        one.wrong.append("no outcome")
    elif one.outcome[0] == "success":
        last = {}
        for line in (folder / "log.txt").read_text().splitlines():
            if line.startswith("step "):
                last[int(line.split()[1])] = line
        if [last[step] for step in sorted(last)] != curve(STEPS):
            one.wrong.append("the log is not that of the job")
    elif not (crashed and "lost: the machine is gone" in str(one.outcome[1])):
        one.wrong.append(f"it ended as {one.outcome}")
    attempts = Counter(launch["attempt"] for launch in ec2.state["launched"][before:])
    if twice := [attempt for attempt, times in attempts.items() if times > 1]:
        one.wrong.append(f"launched twice: {twice}")
    if left := ec2.live():
        one.wrong.append(f"machines left: {left}")
        ec2.do("end")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed, faults, statuses, launches = [], Counter(), Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        ec2 = StandIn(Path(folder) / "ec2")
        try:
            for number in range(options.runs):
                one = trial(ec2, Path(folder), options.seed * 100_000 + number)
                faults.update(fault.partition(" at ")[0] for fault in one.faults)
                statuses[one.outcome[0] if one.outcome else "none"] += 1
                if one.wrong:
                    failed.append(one)
                    print(
                        f"seed {one.seed}: {'; '.join(one.faults)}\n  " + "\n  ".join(one.wrong), flush=True
                    )
                if (number + 1) % 20 == 0:
                    print(f"{number + 1} runs, {len(failed)} wrong", flush=True)
            launches = len(ec2.state["launched"])
        finally:
            ec2.close()
    print(f"{options.runs} runs, {launches} machines, {dict(statuses)}; faults: {dict(faults.most_common())}")
    print(f"{len(failed)} runs went wrong" + (f": seeds {[one.seed for one in failed]}" if failed else ""))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
