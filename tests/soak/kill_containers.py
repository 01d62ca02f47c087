"""Random faults at random moments of runs at Modal, seeded: no app is left, no attempt runs twice at once, nothing is lost.

    python tests/soak/kill_containers.py --runs 100 --seed 0

Each run is a controller in a process of its own over the stand-in for Modal, with a job that counts steps. What happens to it is drawn:
preemptions, containers that die, a frozen control plane, replies lost, calls refused, rate limits, a volume that takes nothing, and the
controller killed (the same script is started again then).
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from tests.fakes.modal_stand_in.client import ModalCloud  # noqa: E402
from tests.soak.trials import KILL, Trial, draw_moments, judge, many, play, recorded  # noqa: E402

from tenyson.testing.backends import TICKING  # noqa: E402

STEPS = 60
SETTINGS = {
    "gpu": None, "cpu": 1.0, "memory": 512, "python": "3.11", "poll_seconds": 0.3, "volume": "soak", "restarts": 5,
    "runner": ["{python}", *TICKING],
}  # fmt: skip

BEFORE: dict[str, dict[str, Any]] = {
    "reply to the call lost": {"rpc": "FunctionMap", "times": 1, "after": True},
    "app refused": {"rpc": "AppCreate", "times": 2},
    "reply to the app lost": {"rpc": "AppCreate", "times": 1, "after": True},
    "publishing refused": {"rpc": "AppPublish", "times": 2},
    "commit refused": {"rpc": "VolumeCommit", "times": 3},
    "reply to a commit lost": {"rpc": "VolumeCommit", "times": 2, "after": True},
    "volume away": {"rpc": "VolumeGetFile2", "times": 6},
    "answers away": {"rpc": "FunctionGetOutputs", "times": 4},
    "volume takes no record": {"rpc": "VolumePutFiles2", "times": 2, "status": "RESOURCE_EXHAUSTED"},
    "app not let go": {"rpc": "AppClientDisconnect", "times": 1, "status": "RESOURCE_EXHAUSTED"},
    "lock not answered": {"rpc": "DictUpdate", "times": 1, "after": True},
    "stop refused": {"rpc": "AppStop", "times": 3},
    "reply to the stop lost": {"rpc": "AppStop", "times": 1, "after": True},
}
DURING = ("preempt", "preempt hard", "host", "freeze", "rate limit", KILL)
LIMITED = ("FunctionGetOutputs", "VolumeGetFile2", "DictGet")
"""What is asked again and again while a job runs."""


def trial(cloud: ModalCloud, folder: Path, seed: int) -> Trial:
    """One run with what its seed draws."""
    draw = random.Random(seed)
    one = Trial(seed)
    cloud.clear()
    for name in draw.sample(sorted(BEFORE), draw.choice([0, 0, 1, 1, 2])):
        one.faults.append(name)
        cloud.fail(**BEFORE[name])
    play(
        one,
        draw_moments(draw, 10.0, DURING),
        manager="tenyson_modal.manager:ModalManager",
        settings=SETTINGS,
        steps=STEPS,
        folder=folder,
        environment=cloud.environment(),
        befall=lambda what: _befall(cloud, recorded(folder, one, "call_id"), what),
    )
    judge(one, folder, STEPS)
    if overlaps := cloud.overlaps():
        one.wrong.append(f"ran twice at once: {overlaps}")
    if left := cloud.live():
        one.wrong.append(f"apps left: {left}")
        for app in left:
            cloud.stop(app)
    return one


def _befall(cloud: ModalCloud, call: str | None, what: str) -> None:
    if call is None:
        return
    acts: dict[str, Callable[[], Any]] = {
        "preempt": lambda: cloud.preempt(call, grace=30.0),
        "preempt hard": lambda: cloud.preempt(call, grace=0.5),
        "host": lambda: cloud.kill(call, "host"),
        "freeze": lambda: cloud.freeze(4.0),
        "rate limit": lambda: [cloud.fail(rpc, 2, "RESOURCE_EXHAUSTED", "not so fast") for rpc in LIMITED],
    }
    acts[what]()


def main() -> int:
    """The whole suite."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cloud = ModalCloud(folder / "modal")
        try:
            return many(
                __doc__.splitlines()[0],
                100,
                lambda seed: trial(cloud, folder, seed),
                lambda: f"{len(cloud.containers())} containers",
            )
        finally:
            cloud.close()


if __name__ == "__main__":
    sys.exit(main())
