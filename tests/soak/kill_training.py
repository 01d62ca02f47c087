"""SIGKILL at random moments of a real training job: what its callers had handed over is in the database once.

    OMP_NUM_THREADS=1 python tests/soak/kill_training.py [--seeds 50] [--first 0]

Each trial is an RLJob (GRPO, the tiny model) in a process of its own, forked from one that has imported the libraries. A
witness file notes every event after `Telemetry.emit` has returned. Some time after the first step the process is killed;
`tenyson telemetry recover` stores what it left; then the database is told to have stored nothing, and all is shipped again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from hashlib import sha1
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 3.0
"""The kill comes within so long after the first step."""


def import_libraries() -> None:
    """Once for all trials."""
    from tenyson.jobs.runtime.quiet import quiet_libraries

    quiet_libraries()
    import torch  # noqa: F401
    import trl  # noqa: F401
    from trl import GRPOTrainer  # noqa: F401

    import tenyson.jobs.trainers.rollout_trainer  # noqa: F401


def train(folder: Path) -> None:
    """A job that notes what it has handed over."""
    sys.path.insert(0, str(ROOT / "tests" / "tasks"))
    from echo_task import EchoTask

    from tenyson.jobs.rl import RLJob
    from tenyson.telemetry.dispatch import Telemetry

    witness = os.open(folder / "witness", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    emit = Telemetry.emit

    def witnessed(self: Telemetry, *events: object) -> None:
        emit(self, *events)  # type: ignore[arg-type]
        noted = "".join(f"{key}\n" for event in events if (key := key_of(vars(event), type(event).__name__)))
        if noted:
            os.write(witness, noted.encode())

    Telemetry.emit = witnessed  # type: ignore[method-assign]
    config = {
        "run": {"id": "run-1", "output_dir": str(folder)},
        "model": {"factory": "tenyson.testing.tiny:build"},
        "training": {"max_steps": 100_000, "batch_size": 16, "num_generations": 4},
        "generation": {"max_new_tokens": 4, "engine": "transformers"},
        "telemetry": {"db_url": f"sqlite:///{folder}/t.db", "sinks": ["sql"]},
    }
    RLJob(config, EchoTask(64)).run()


def key_of(event: dict, kind: str) -> str | None:
    """What tells an event from all others."""
    if kind == "RolloutFinished":
        text = sha1(event["completion"].encode()).hexdigest()
        return f"R {event['time']!r} {event['step']} {event['sample_id']} {text} {event['advantage']!r}"
    if kind == "MetricsLogged":
        values = {name: float(value) for name, value in event["values"].items()}
        return f"M {event['time']!r} {event['step']} {sha1(json.dumps(values).encode()).hexdigest()}"
    return None


def stored(folder: Path) -> Counter[str]:
    """The same of what the database holds."""
    found: Counter[str] = Counter()
    with sqlite3.connect(folder / "t.db") as connection:
        for at, step, sample, completion, advantage in connection.execute(
            "SELECT created_at, step, sample_id, completion, advantage FROM rollout_records"
        ):
            text = sha1(completion.encode()).hexdigest()
            found[f"R {at!r} {step} {sample} {text} {advantage!r}"] += 1
        for at, step, values in connection.execute("SELECT created_at, step, metrics FROM metric_records"):
            numbers = {name: float(value) for name, value in json.loads(values).items()}
            found[f"M {at!r} {step} {sha1(json.dumps(numbers).encode()).hexdigest()}"] += 1
    return found


def dump(folder: Path) -> list[str]:
    """All rows but those that say when a writer was seen."""
    with sqlite3.connect(folder / "t.db") as connection:
        connection.execute("UPDATE attempts SET heartbeat_at = 0, finished_at = 0")
        connection.execute("UPDATE runs SET finished_at = 0")
        return [line for line in connection.iterdump() if 'INTO "spools"' not in line]


def recover(folder: Path, *more: str) -> None:
    """As a user would."""
    command = [Path(sys.executable).with_name("tenyson"), "telemetry", "recover", folder / "run-1"]
    done = subprocess.run(
        [*command, "--db-url", f"sqlite:///{folder}/t.db", *more], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def trial(seed: int, folder: Path) -> str:
    """One kill. Returns what was found; raises AssertionError where something is lost or there twice."""
    wait = random.Random(seed).uniform(0, LONGEST_SECONDS)
    child = os.fork()
    if child == 0:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            train(folder)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 120
    while not (folder / "witness").exists() or not (folder / "witness").stat().st_size:
        assert time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
        assert os.waitpid(child, os.WNOHANG) == (0, 0), (folder / "log").read_text()[-3000:]
        time.sleep(0.01)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    before = sum(stored(folder).values())
    recover(folder, "--keep")
    witnessed = Counter((folder / "witness").read_text().splitlines())
    found = stored(folder)
    lost = witnessed - found
    assert not lost, f"seed {seed}: {len(lost)} events lost, such as {next(iter(lost))}"
    twice = [key for key, number in found.items() if number > 1]
    assert not twice, f"seed {seed}: {len(twice)} events there twice, such as {twice[0]}"
    # The call that the kill cut off may have written its batch.
    unseen = sum((found - witnessed).values())
    assert unseen <= 16, f"seed {seed}: {unseen} events came from nowhere"
    rows = dump(folder)
    with sqlite3.connect(folder / "t.db") as connection:
        connection.execute("UPDATE spools SET segment = 0, position = 0, events = 0")
    recover(folder)
    assert dump(folder) == rows, f"seed {seed}: a second replay changed the database"
    return f"seed {seed}: killed after {wait:.2f} s, {len(witnessed)} events, {len(found) - before} of them recovered"


def main() -> None:
    """Run the trials and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    import_libraries()
    for seed in range(options.first, options.first + options.seeds):
        folder = Path(tempfile.mkdtemp(prefix="tenyson-kill-"))
        try:
            print(trial(seed, folder), flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.seeds} of {options.seeds} kills lost nothing and doubled nothing")


if __name__ == "__main__":
    main()
