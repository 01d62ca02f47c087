"""One measurement of one tool, in a process of its own; prints a JSON object.

python benchmarks/telemetry/measure.py WHAT TOOL FOLDER
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from tools import Tenyson, Tool, open_tool
from workload import numbers, rollout_steps

TIGHT_STEPS, PACED_STEPS, PACE_SECONDS = 2000, 1000, 0.005
ROLLOUT_STEPS, ROLLOUT_PACE_SECONDS, PACED_ROLLOUT_STEPS = 320, 0.05, 60
"""More than 40,000 rollouts in all for those that are quick; a tenth for the others."""


def _microseconds(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "mean": statistics.fmean(ordered) * 1e6,
        "median": statistics.median(ordered) * 1e6,
        "p99": ordered[int(0.99 * len(ordered))] * 1e6,
    }


def _timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def scalars(tool: Tool, pace: float, steps: int) -> dict[str, float]:
    """What the caller waits for 4 numbers."""
    seconds = []
    for step in range(steps):
        values = numbers(step)
        seconds.append(_timed(lambda: tool.scalars(step, values)))  # noqa: B023
        if pace:
            time.sleep(pace)
    tool.close()
    return _microseconds(seconds)


def rollouts_paced(tool: Tool) -> dict[str, float]:
    """What the caller waits for 128 rollouts, a batch every 50 ms."""
    seconds = []
    for step, batch in enumerate(rollout_steps(PACED_ROLLOUT_STEPS)):
        if isinstance(tool, Tenyson):
            events = tool.events(step, batch)
            seconds.append(_timed(lambda: tool._telemetry.emit(*events)))  # noqa: B023
        else:
            seconds.append(_timed(lambda: tool.rollouts(step, batch)))  # noqa: B023
        time.sleep(ROLLOUT_PACE_SECONDS)
    tool.close()
    return _microseconds(seconds)


def rollouts(tool: Tool, folder: Path, steps: int) -> dict[str, float]:
    """Rows a second until all is stored, processor time a row, and bytes a row on the disk."""
    batches = rollout_steps(steps)
    before = _bytes(folder)
    begin, worked = time.perf_counter(), _processor_seconds()
    for step, batch in enumerate(batches):
        tool.rollouts(step, batch)
    tool.close()
    seconds = time.perf_counter() - begin
    rows = sum(map(len, batches))
    return {
        "rows_per_second": rows / seconds,
        "processor_us": (_processor_seconds() - worked) / rows * 1e6,
        "bytes_per_row": (_bytes(folder) - before) / rows,
    }


def _processor_seconds() -> float:
    """Of all threads, and of processes that were started here and have ended; a database server is neither."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def empty_call() -> dict[str, float]:
    """The same loop around a call that does nothing: what this machine adds to every figure of the paced scalars."""
    seconds = []
    for _ in range(PACED_STEPS):
        seconds.append(_timed(lambda: None))
        time.sleep(PACE_SECONDS)
    return _microseconds(seconds)


def main(what: str, name: str, place: str, postgres_url: str | None = None) -> None:
    """Measure and print."""
    folder = Path(place)
    if what == "empty":
        print(json.dumps(empty_call()))
        return
    tool = open_tool(name, folder, postgres_url)
    slow = name in ("mlflow", "wandb", "trackio", "tensorboardX")
    results = {
        "tight": lambda: scalars(tool, 0, 200 if name == "mlflow" else TIGHT_STEPS),
        "paced": lambda: scalars(tool, PACE_SECONDS, 200 if name == "mlflow" else PACED_STEPS),
        "rollouts_paced": lambda: rollouts_paced(tool),
        "rollouts": lambda: rollouts(tool, folder, ROLLOUT_STEPS // 10 if slow else ROLLOUT_STEPS),
    }
    # The last line is ours: tools print what they like.
    print("\n" + json.dumps(results[what]()))


if __name__ == "__main__":
    main(*sys.argv[1:])
