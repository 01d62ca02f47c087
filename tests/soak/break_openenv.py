"""OpenEnv servers that break at seeded moments of GRPO trainings: what is recorded is what was broken, and nothing of it is trained on.

    OMP_NUM_THREADS=1 python tests/soak/break_openenv.py [--runs 40] [--first 0] [--python PATH]

Each run trains the task `openenv` for three steps (the tiny model, 2 groups of 4) on a real server, a process of its own, with one
slot or many. A seed decides which answers are errors, garbage, half a message, too large, or do not come, and whether the server is
killed, stopped for longer than the limit of an answer, or frozen for good. The server writes down what it broke. After the run: each
fault of an episode is recorded once, by its kind, and a fault of the server for each episode that was under way, and for none beyond
those of the batch; no group with a broken rollout is trained on; all slots are free; no connection, thread or process stays.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.openenv.interpreter import make_interpreter  # noqa: E402
from tests.soak.break_worlds import (  # noqa: E402
    children,
    config_of,
    options_of,
    run_all,
    threads_left,
    train,
    wrong_groups,
)

SECONDS = 1.5
"""The limit of an answer."""
HANG_SECONDS = 3.5
"""How long what hangs takes."""
EPISODES = 8
"""At once."""

RECORDED = {
    "raise": "EXECUTION_ERROR: injected",
    "make": "FACTORY_ERROR",
    "garbage": "is no JSON",
    "wrong": "is no message of OpenEnv",
    "lost": "connection lost|cannot connect",
    "late": "no answer to .* within",
}
"""What the messages of errors say, by kind."""
COMES_TO = {"utf8": "lost", "cut": "lost", "half": "lost", "huge": "lost", "silent": "late", "hang": "late"}
OF_EPISODE = ("raise", "make", "garbage", "wrong", *COMES_TO)
OF_SERVER = ("kill", "stop", "freeze")
BROKEN: Counter[str] = Counter()
"""What broke in all runs so far."""


@dataclass(frozen=True)
class Plan:
    """What a run is like."""

    slots: int
    retries: int
    rates: dict[str, float]

    @classmethod
    def of(cls, seed: int) -> Plan:
        draw = random.Random(seed)
        rates = {kind: draw.choice([0, 0, 0.02, 0.05]) for kind in OF_EPISODE}
        if seed % 2:
            rates |= {kind: draw.choice([0, 0.03, 0.1]) for kind in OF_SERVER}
        if seed % 20 == 18:  # one that nothing can be done with
            rates["raise"] = 1.0
        return cls(draw.choice([1, 3, 64, 64]), draw.choice([0, 1, 2]), rates)

    @property
    def shares(self) -> bool:
        """Whether episodes wait for each other's slots."""
        return self.slots < EPISODES


def trial(seed: int, python: Path, folder: Path) -> list[str]:
    """What is wrong after one run; empty where nothing is."""
    from tenyson_openenv.task import OpenEnvTask

    plan, before = Plan.of(seed), set(threading.enumerate())
    log, begun = folder / "breaks.jsonl", folder / "begun"
    asked = {
        "seed": seed,
        "rates": plan.rates,
        "slots": plan.slots,
        "log": str(log),
        "begun": str(begun),
        "hang_seconds": HANG_SECONDS,
    }
    task = OpenEnvTask(
        command=[str(python), str(ROOT / "tests" / "soak" / "breaking_server.py"), "{port}"],
        env={"BREAKS": json.dumps(asked)},
        prompt="Guess.",
        train_size=8,
        eval_size=4,
        step_seconds=SECONDS,
        # Longer than what hangs, so that a wait for a slot ends.
        slot_seconds=HANG_SECONDS + 2,
    )
    model = {"factory": "tenyson.testing.tiny:build", "factory_args": {"width": 32}}
    config = config_of(
        seed,
        model,
        folder,
        {"max_new_tokens": 4, "max_turns": 4},
        {"retries": plan.retries, "step_seconds": 120.0},
    )
    config["run"]["allow"] = ["eos"]
    try:
        ended, counted = train(config, task, begun.touch)
        begun.unlink()
        busy = _slots_taken(task, plan)
    finally:
        task.pool.end()
    happened = [json.loads(line) for line in log.read_text().splitlines()]
    BROKEN.update(one["kind"] for one in happened)
    return [
        *_wrong_records(plan, happened, folder / "t.db"),
        *wrong_groups(folder / "t.db", ended),
        *counted,
        *busy,
        *threads_left(before),
        *_left(happened),
    ]


def _wrong_records(plan: Plan, happened: list[dict[str, Any]], path: Path) -> list[str]:
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT source, error_class, message FROM rollout_errors").fetchall()
    found = [f"an error of another kind: {row}" for row in rows if row[:2] != ("environment", "TaskError")]
    recorded = Counter(_kind(message) for *_, message in rows)
    expected = Counter(
        COMES_TO.get(one["kind"], one["kind"]) for one in happened if one["kind"] in OF_EPISODE
    )
    broke = [one for one in happened if one["kind"] in OF_SERVER]
    if broke:
        # An episode that the server has failed says either: it depends on which comes first.
        few = sum(one["waiting" if plan.shares or one["kind"] == "stop" else "live"] for one in broke)
        for counted in (recorded, expected):
            counted["gone"] = counted.pop("lost", 0) + counted.pop("late", 0)
        more = recorded["gone"] - expected["gone"]
        if not few <= more <= EPISODES * len(broke):
            found.append(f"{broke} came to {more} errors")
        recorded["gone"] = expected["gone"]
    if recorded != expected:
        found.append(
            f"recorded {dict(recorded - expected)} too often, {dict(expected - recorded)} not at all"
        )
    return found


def _kind(message: str) -> str:
    kinds = [kind for kind, says in RECORDED.items() if re.search(says, message)]
    return kinds[0] if len(kinds) == 1 else message


def _slots_taken(task: Any, plan: Plan) -> list[str]:
    """Ask the server for all of its slots at once."""
    from tenyson_openenv.loop import on_loop
    from tenyson_openenv.session import NoSlotError, Session

    server = task.pool.first
    found = [f"{server.sessions} sessions are held"] if server.sessions else []

    async def all_slots() -> bool:
        url = await asyncio.to_thread(server.ensure)
        opened = [await Session.open(url, {}, 10) for _ in range(plan.slots)]
        try:
            await asyncio.gather(*(one.probe() for one in opened))
        except NoSlotError:
            return False
        else:
            return True
        finally:
            await asyncio.gather(*(one.close() for one in opened))

    server.suspect = True
    until = time.monotonic() + HANG_SECONDS + 5
    while not asyncio.run(on_loop(all_slots())):
        if time.monotonic() > until:
            return [*found, "a slot of the server is taken"]
        time.sleep(0.1)
    return found


def _left(happened: list[dict[str, Any]]) -> list[str]:
    from tenyson_openenv.loop import _loop

    found = []
    if tasks := asyncio.all_tasks(_loop(os.getpid())):
        found.append(f"{len(tasks)} connections stay")
    if serving := [one for one in children() if "tenyson_openenv.guard" in one]:
        found.append(f"{len(serving)} guards stay")
    started = [one["pid"] for one in happened if one["kind"] == "start"]
    if alive := [pid for pid in started if Path(f"/proc/{pid}").exists()]:
        found.append(f"{len(alive)} of {len(started)} servers stay")
    return found


def main() -> int:
    """Run the trials; exit status 1 where something was wrong."""
    from tenyson.jobs.runtime.quiet import quiet_libraries

    parser = options_of(__doc__, runs=40)
    parser.add_argument(
        "--python", type=Path, help="an interpreter that has OpenEnv; without it, one is made"
    )
    options = parser.parse_args()
    quiet_libraries()
    with tempfile.TemporaryDirectory() as scratch:
        python = options.python or make_interpreter(Path(scratch))
        status = run_all(options, lambda seed, folder: trial(seed, python, folder))
        print(f"servers started: {BROKEN.pop('start')}; broken: {dict(sorted(BROKEN.items()))}")
        return status


if __name__ == "__main__":
    sys.exit(main())
