"""Worlds that break at seeded moments of GRPO trainings: what is recorded is what was broken, and nothing of it is trained on.

    OMP_NUM_THREADS=1 python tests/soak/break_worlds.py [--runs 200] [--first 0]

Each run is an RLJob of three steps (the tiny model, 2 groups of 4) with an environment, a tool and two rewards. A seed decides which
calls raise, hang beyond their limit, exit, change the process or leak a thread. After it: each fault is recorded once, with its class;
no group with a broken rollout has a trained one, and no token of it a place in the loss; each environment was closed once; a run
succeeds unless three batches in a row broke whole; no thread and no process stays.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 1.0
"""The limit of a call; what hangs takes longer."""
STEPS = 3
GROUP = 4


PLACES = {
    "make": "environment",
    "reset": "environment",
    "step": "environment",
    "info": "environment",
    "tool": "tool",
    "plain": "reward",
    "async": "reward",
}
FAULTS = ["ConnectionError", "ValueError", "hang", "exit", "leak", "meddle"]
CLASSES = {"hang": "TimeoutError", "exit": "SystemExit"}
HARMLESS = ("leak", "meddle")


class World:
    """What breaks in one run, and what was seen of it."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.rates = {place: draw.choice([0, 0.02, 0.05, 0.2]) for place in PLACES}
        # Of two rewards that fail on one rollout, the first is its error.
        self.rates[draw.choice(["plain", "async"])] = 0
        if seed % 20 == 19:  # one that nothing can be done with
            self.rates["step"] = 1.0
        self.retries = draw.choice([0, 1, 2])
        self.draw = random.Random(seed + 1)
        self.injected: Counter[tuple[str, str]] = Counter()
        self.made = self.closed = 0
        self.begun = False
        """Nothing breaks before the first rollout of training: preflight would refuse such a task."""
        self.release = threading.Event()
        self.lock = threading.Lock()

    def fault(self, place: str) -> str | None:
        """What breaks here, if anything does."""
        with self.lock:
            if not self.begun or self.draw.random() >= self.rates[place]:
                return None
            kind = self.draw.choice(FAULTS)
            if kind not in HARMLESS:
                self.injected[PLACES[place], CLASSES.get(kind, kind)] += 1
            return kind

    def call(self, place: str) -> None:
        """Break here, or not."""
        if kind := self.fault(place):
            self.do(kind, place)

    async def call_async(self, place: str) -> None:
        """The same, where others wait on the same event loop."""
        kind = self.fault(place)
        if kind == "hang":
            await asyncio.sleep(20)
        elif kind:
            self.do(kind, place)

    def do(self, kind: str, place: str) -> None:
        """Break."""
        if kind == "hang":
            self.release.wait(20)
        elif kind == "exit":
            sys.exit(3)
        elif kind == "leak":
            threading.Thread(target=self.release.wait, args=(20,), name="leaked").start()
        elif kind == "meddle":
            os.chdir("/")
        else:
            raise {"ConnectionError": ConnectionError, "ValueError": ValueError}[kind](f"injected at {place}")


def task_of(world: World) -> Any:
    """Rooms with a tool, which the model has learnt to call, and two rewards."""
    sys.path.insert(0, str(ROOT / "tests" / "tasks"))
    from tool_task import ToolTask, secret

    from tenyson.tasks import Environment, Observation, Reward

    class Room(Environment):
        def __init__(self) -> None:
            world.call("make")
            with world.lock:
                world.made += 1
            self.steps = 0
            self.process = subprocess.Popen(["sleep", "600"])

        def reset(self) -> None:
            world.call("reset")

        def step(self, reply: str) -> Observation:
            world.call("step")
            self.steps += 1
            return Observation(f"{len(reply)}", done=self.steps == 2)

        def info(self) -> dict[str, Any]:
            world.call("info")
            return {"steps": self.steps}

        def close(self) -> None:
            with world.lock:
                world.closed += 1
            self.process.kill()
            self.process.wait()

    def broken_secret(letter: str) -> str:
        world.call("tool")
        return secret(letter)

    broken_secret.__name__, broken_secret.__doc__ = secret.__name__, secret.__doc__

    def plain(rollout: Any) -> float:
        world.call("plain")
        return float(len(rollout.text) % 3)

    async def later(rollout: Any) -> float:
        await world.call_async("async")
        return float(len(rollout.text) % 2)

    class Rooms(ToolTask):
        def tools(self, sample: Any) -> list[Any]:
            return [broken_secret]

        def environment(self, sample: Any) -> Room:
            return Room()

        def rewards(self) -> list[Reward]:
            return [Reward("plain", plain), Reward("async", later)]

    return Rooms()


def warm(folder: Path) -> str:
    """A model that has learnt to call the tool."""
    sys.path.insert(0, str(ROOT / "tests" / "tasks"))
    from tool_task import ToolTask

    from tenyson.jobs.sft import SFTJob

    config = {
        "run": {"id": "warm", "output_dir": str(folder)},
        "model": {"factory": "tenyson.testing.tiny:build"},
        "training": {"max_steps": 200, "batch_size": 16, "learning_rate": 0.01},
        "telemetry": {"sinks": []},
    }
    return str(Path(SFTJob(config, ToolTask()).run().local_output_dir) / "model")


def trial(seed: int, model: str, folder: Path) -> list[str]:
    """What is wrong after one run; empty where nothing is."""
    world, before, here = World(seed), set(threading.enumerate()), Path.cwd()

    def begin() -> None:
        world.begun = True

    rollouts = {"retries": world.retries, "step_seconds": SECONDS, "reward_seconds": SECONDS}
    generation = {"max_new_tokens": 40, "max_turns": 4}
    config = config_of(seed, {"name": model}, folder, generation, rollouts)
    try:
        ended, counted = train(config, task_of(world), begin)
    finally:
        world.release.set()
    return [
        *_wrong_records(world, folder / "t.db"),
        *wrong_groups(folder / "t.db", ended),
        *counted,
        *threads_left(before),
        *_left(world, here),
    ]


def config_of(
    seed: int,
    model: dict[str, Any],
    folder: Path,
    generation: dict[str, Any],
    rollouts: dict[str, Any],
) -> dict[str, Any]:
    """A GRPO training of a few steps, which continues whatever share of a batch breaks."""
    return {
        "run": {"id": "rl", "output_dir": str(folder), "seed": seed},
        "model": model,
        "training": {
            "max_steps": STEPS,
            "batch_size": 8,
            "num_generations": GROUP,
            "preflight_groups": 0,
            "save_steps": 100,
        },
        "generation": {"engine": "transformers", **generation},
        "telemetry": {"db_url": f"sqlite:///{folder}/t.db", "sinks": ["sql"]},
        "rollouts": {"max_failed": 1.0, **rollouts},
    }


def train(config: dict[str, Any], task: Any, begin: Callable[[], None]) -> tuple[str, list[str]]:
    """Train, and say how it ended, and what the loss read of a broken group: it must be nothing.

    Args:
        begin: called before each batch of training: nothing breaks before.
    """
    from tenyson.errors import TaskError
    from tenyson.jobs.rl import RLJob
    from tenyson.jobs.trainers.rollout_trainer import RolloutTrainer

    masked: list[bool] = []
    leave_out, play_games = RolloutTrainer.leave_out, RolloutTrainer.play_games

    def begun(self: RolloutTrainer) -> dict[str, Any]:
        begin()
        return play_games(self)

    def noted(self: RolloutTrainer, output: dict[str, Any]) -> None:
        leave_out(self, output)
        tokens = output["completion_mask"].sum(dim=1).tolist()
        masked.extend(not count for count, gone in zip(tokens, self.is_left_out(), strict=True) if gone)

    RolloutTrainer.leave_out, RolloutTrainer.play_games = noted, begun  # type: ignore[method-assign]
    ended = "success"
    try:
        RLJob(config, task).run()
    except TaskError as error:
        ended = str(error)
    finally:
        RolloutTrainer.leave_out, RolloutTrainer.play_games = leave_out, play_games  # type: ignore[method-assign]
    return ended, [] if all(masked) else ["a token of a broken group has a place in the loss"]


def _wrong_records(world: World, path: Path) -> list[str]:
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT source, error_class, count(*) FROM rollout_errors GROUP BY 1, 2")
        errors = Counter({(source, kind): count for source, kind, count in found})
    if errors == world.injected:
        return []
    return [f"recorded {dict(errors - world.injected)} too often, {dict(world.injected - errors)} not at all"]


def wrong_groups(path: Path, ended: str) -> list[str]:
    """Groups that were trained on although a rollout of them broke, and an end that nothing explains."""
    found = []
    with sqlite3.connect(path) as database:
        rollouts = database.execute(
            "SELECT step, group_id, finish_reason = 'error', trained FROM rollouts ORDER BY id"
        ).fetchall()
        trained = database.execute("SELECT count(*) FROM metrics WHERE name = 'loss'").fetchone()[0]
    # A batch of which nothing was left is played again, under the same names.
    groups = [rollouts[start : start + GROUP] for start in range(0, len(rollouts), GROUP)]
    if mixed := [group for group in groups if len({row[:2] for row in group}) > 1]:
        found.append(f"rollouts of one group are not recorded together: {mixed}")
    if partly := [group for group in groups if any(row[2] for row in group) and any(row[3] for row in group)]:
        found.append(f"groups with a broken rollout were trained on: {partly}")
    if ended == "success":
        found += [] if trained == STEPS else [f"it succeeded after {trained} steps"]
    elif "too many rollouts failed in 3 batches in a row" not in ended:
        found.append(f"it ended with: {ended}")
    return found


def threads_left(before: set[threading.Thread]) -> list[str]:
    """Threads of Tenyson and of the task's code that stay."""
    until = time.monotonic() + 10
    while left := [one.name for one in set(threading.enumerate()) - before if _is_ours(one)]:
        if time.monotonic() > until:
            return [f"threads stay: {left}"]
        time.sleep(0.02)
    return []


def _left(world: World, here: Path) -> list[str]:
    found = []
    if world.made != world.closed:
        found.append(f"{world.made} environments were made, and {world.closed} closed")
    if sleeping := [one for one in children() if one.startswith("sleep")]:
        found.append(f"{len(sleeping)} processes stay")
    if Path.cwd() != here:
        found.append(f"the working directory is {Path.cwd()}")
    return found


def children() -> list[str]:
    """The commands of this process's children."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [_command(one) for one in pids]


def _is_ours(thread: threading.Thread) -> bool:
    return thread.name == "leaked" or thread.name.startswith("tenyson")


def _command(process: str) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def main() -> int:
    """Run the trials; exit status 1 where something was wrong."""
    from tenyson.jobs.runtime.quiet import quiet_libraries

    options = options_of(__doc__, runs=200).parse_args()
    quiet_libraries()
    with tempfile.TemporaryDirectory() as scratch:
        model = warm(Path(scratch) / "warm")
        return run_all(options, lambda seed, folder: trial(seed, model, folder))


def options_of(about: str | None, *, runs: int) -> argparse.ArgumentParser:
    """What a suite of seeded runs is told."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--times", action="store_true", help="print how long each run takes")
    return parser


def run_all(options: argparse.Namespace, one_trial: Callable[[int, Path], list[str]]) -> int:
    """Run the trials, each in a folder of its own, and print what is wrong; 1 where something is."""
    wrong = 0
    for seed in range(options.first, options.first + options.runs):
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = one_trial(seed, Path(folder))
        if options.times:
            print(f"seed {seed}: {time.monotonic() - begun:.1f} s", flush=True)
        wrong += bool(found)
        for one in found:
            print(f"seed {seed}: {one}", flush=True)
    print(f"{options.runs} runs, {wrong} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
