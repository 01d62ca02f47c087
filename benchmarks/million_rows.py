"""How long SFT on a file of a million rows takes to its first step: the first time, and again.

Each start is a process of its own (`tenyson.runner`), with a tiny model, so that what is measured is reading, rendering and
handing over the rows. Printed beside it: what the same start takes on a file of 64 rows.

    OMP_NUM_THREADS=2 python benchmarks/million_rows.py [--rows 1000000]
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
from pathlib import Path


def write(path: Path, rows: int) -> None:
    """Conversations of one turn, all different."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            total = draw.randrange(10**6)
            turns = [("user", f"{number} and {total} are how many?"), ("assistant", str(number + total))]
            file.write(
                json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}) + "\n"
            )


def start(folder: Path, name: str, data: Path, rows: int) -> float:
    """Seconds from the start of the process to the record of its first step."""
    config = {
        "run": {"id": name, "output_dir": str(folder / "outputs")},
        "model": {"factory": "tenyson.testing.tiny:build"},
        "task": {"args": {"data": str(data)}},
        "training": {"max_steps": 1, "samples": rows, "batch_size": 8, "max_length": 64},
        "telemetry": {"sinks": ["jsonl"]},
    }
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(config))
    task = "tenyson.tasks.dataset.task:DatasetTask"
    command = [
        sys.executable,
        "-m",
        "tenyson.runner",
        "--job-type",
        "sft",
        "--config",
        str(file),
        "--task-module",
        task,
    ]
    environment = {**os.environ, "TENYSON_CACHE": str(folder / "cache")}
    begun = time.monotonic()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    events = folder / "outputs" / name / "events.jsonl"
    try:
        while not (events.is_file() and '"loss"' in events.read_text(encoding="utf-8")):
            if process.poll() not in (None, 0):
                sys.exit(f"the start failed:\n{process.communicate()[1][-2000:]}")
            time.sleep(0.05)
        return time.monotonic() - begun
    finally:
        process.wait()


def main() -> None:
    """Print the three starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        many, few = folder / "many.jsonl", folder / "few.jsonl"
        write(many, rows)
        write(few, 64)
        for name, data, number in (("few", few, 64), ("first", many, rows), ("second", many, rows)):
            print(
                f"{name:8} {number:>9,} rows  {start(folder, name, data, number):6.1f} s to the first step",
                flush=True,
            )


if __name__ == "__main__":
    main()
