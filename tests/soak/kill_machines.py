"""Random faults at random moments of runs on rented machines, seeded: no machine is left, no attempt is launched twice, no line lost.

    python tests/soak/kill_machines.py --runs 200 --seed 0

Each run is a controller in a process of its own over the stand-in for EC2, with a job that counts steps. What happens to it is drawn:
interruptions with and without notice, crashes, cut and stalled connections, replies lost, calls refused, throttled, lied about, and
the controller killed (the same script is started again then).
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from tests.fakes.ec2.client import StandIn  # noqa: E402
from tests.soak.trials import KILL, Trial, draw_moments, judge, many, play, recorded  # noqa: E402

STEPS = 40

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
DURING = ("notice", "reclaim", "crash", "cut", "stall", KILL)


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
    play(
        one,
        draw_moments(draw, 9.0, DURING),
        manager="tenyson_aws.manager:AWSManager",
        settings=ec2.settings | {"runner": ec2.runners["ticking"], "use_spot": True, "max_preemptions": 5},
        steps=STEPS,
        folder=folder,
        environment=ec2.environment,
        befall=lambda what: _befall(ec2, recorded(folder, one, "instance_id"), what),
    )
    crashed = any(fault.startswith("crash") for fault in one.faults)
    judge(one, folder, STEPS, may_fail=lambda reason: crashed and "lost: the machine is gone" in reason)
    attempts = Counter(launch["attempt"] for launch in ec2.state["launched"][before:])
    if twice := [attempt for attempt, times in attempts.items() if times > 1]:
        one.wrong.append(f"launched twice: {twice}")
    if left := ec2.live():
        one.wrong.append(f"machines left: {left}")
        ec2.do("end")
    return one


def _befall(ec2: StandIn, instance: str | None, what: str) -> None:
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


def main() -> int:
    """The whole suite."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ec2 = StandIn(folder / "ec2")
        try:
            return many(
                __doc__.splitlines()[0],
                200,
                lambda seed: trial(ec2, folder, seed),
                lambda: f"{len(ec2.state['launched'])} machines",
            )
        finally:
            ec2.close()


if __name__ == "__main__":
    sys.exit(main())
