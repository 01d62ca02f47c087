"""Trials of rented machines: a controller in a process of its own, what befalls its run at drawn moments, and many of them."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenyson.testing.ticking import last_of_each_step, lines

PATIENCE_SECONDS = 150.0
KILL = "kill controller"
"""What can befall a run on any machine: the same script is started again then."""

CONTROLLER = """
import importlib, json, sys
from tenyson.jobs.spec import JobSpec
request = json.loads(sys.argv[1])
module, _, name = request["manager"].partition(":")
class Job:
    def spec(self):
        return JobSpec(request["run"], "sft", "none:None", {
            "run": {"id": request["run"], "output_dir": request["folder"]}, "model": {"name": "none"},
            "task": {"args": {"steps": request["steps"], "seconds": 0.08, "save_every": 5}}, "training": {}})
result = getattr(importlib.import_module(module), name)(**request["settings"]).run(Job())
print("OUTCOME " + json.dumps([result.status, result.failure_reason]), flush=True)
"""


@dataclass
class Trial:
    """What was drawn for one run, and what came of it."""

    seed: int
    faults: list[str] = field(default_factory=list)
    outcome: list[Any] | None = None
    wrong: list[str] = field(default_factory=list)
    said: str = ""

    @property
    def run(self) -> str:
        """Its run id."""
        return f"soak-{self.seed}"


def draw_moments(draw: random.Random, seconds: float, during: Sequence[str]) -> list[tuple[float, str]]:
    """What happens when."""
    return sorted((draw.uniform(0.0, seconds), draw.choice(during)) for _ in range(draw.choice([1, 1, 2, 3])))


def play(
    one: Trial,
    moments: Sequence[tuple[float, str]],
    *,
    manager: str,
    settings: Mapping[str, Any],
    steps: int,
    folder: Path,
    environment: Mapping[str, str],
    befall: Callable[[str], None],
) -> None:
    """The run from its beginning to its end, or to the end of our patience."""
    request = {
        "manager": manager, "run": one.run, "folder": str(folder), "steps": steps,
        "settings": {**settings, "output_dir": str(folder)},
    }  # fmt: skip

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CONTROLLER, json.dumps(request)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=os.environ | environment,
        )  # fmt: skip

    running, begun = start(), time.monotonic()
    for moment, what in moments:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        if running.poll() is not None:
            break
        one.faults.append(f"{what} at {moment:.1f} s")
        if what == KILL:
            running.kill()
            one.said += running.communicate()[0]
            running = start()
        else:
            befall(what)
    try:
        one.said += running.communicate(timeout=PATIENCE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        running.kill()
        one.wrong.append("the run did not end")
        one.said += running.communicate()[0]
    outcomes = [line for line in one.said.splitlines() if line.startswith("OUTCOME ")]
    one.outcome = json.loads(outcomes[-1].removeprefix("OUTCOME ")) if outcomes else None


def judge(one: Trial, folder: Path, steps: int, *, may_fail: Callable[[str], bool] = lambda _: False) -> None:
    """The outcome, and that the log of a success is that of an uninterrupted job; `may_fail` takes the reason of a failure."""
    if one.outcome is None:
        one.wrong.append("no outcome")
    elif one.outcome[0] == "success":
        log = (folder / one.run / "log.txt").read_text().splitlines()
        if last_of_each_step(log) != lines(steps):
            one.wrong.append("the log is not that of the job")
    elif not may_fail(str(one.outcome[1])):
        one.wrong.append(f"it ended as {one.outcome}")


def recorded(folder: Path, one: Trial, key: str) -> str | None:
    """What the run's record says; None while there is none."""
    try:
        value: str | None = json.loads((folder / one.run / ".controller" / "machine.json").read_text())[key]
    except (OSError, ValueError, KeyError):
        return None
    return value


def many(summary: str, runs: int, trial: Callable[[int], Trial], tally: Callable[[], str]) -> int:
    """The command line: so many trials with seeds of their own; returns the exit status. `tally` tells what they used."""
    options = parse(summary, runs)
    failed: list[Trial] = []
    faults: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for number in range(options.runs):
        one = trial(options.seed * 100_000 + number)
        faults.update(fault.partition(" at ")[0] for fault in one.faults)
        statuses[one.outcome[0] if one.outcome else "none"] += 1
        if one.wrong:
            failed.append(one)
            told = "\n  ".join([*one.wrong, one.said[-3000:]])
            print(f"seed {one.seed}: {'; '.join(one.faults)}\n  {told}", flush=True)
        if (number + 1) % 20 == 0:
            print(f"{number + 1} runs, {len(failed)} wrong", flush=True)
    print(f"{options.runs} runs, {tally()}, {dict(statuses)}; faults: {dict(faults.most_common())}")
    print(f"{len(failed)} runs went wrong" + (f": seeds {[one.seed for one in failed]}" if failed else ""))
    return bool(failed)


def parse(summary: str, runs: int) -> argparse.Namespace:
    """--runs and --seed."""
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()
