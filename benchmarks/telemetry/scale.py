"""Queries on a database of 1,000 runs and 1,000,000 rollouts, written through the spool and the shipper like any other.

    python benchmarks/telemetry/scale.py [--runs 1000] [--rollouts 1000] [--database FILE]

Prints medians over 20 runs of each query, and of `tenyson runs` as a whole process over 7, in a folder where each run has
its job folder in outputs/. With --database an existing file is queried again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from workload import rollout_steps

STEPS_OF_PROSE = 40
"""Texts are used again every 40 steps: what is measured are queries, not compression."""


def generate(url: str, runs: int, rollouts: int, folder: Path) -> None:
    """All runs, one after another."""
    from tenyson.telemetry.database.engine import open_database
    from tenyson.telemetry.events import (
        AttemptBegan,
        MetricsLogged,
        RolloutFinished,
        RunFinished,
        RunStarted,
    )
    from tenyson.telemetry.events.encoder import Encoder
    from tenyson.telemetry.spool.recover import recover
    from tenyson.telemetry.spool.writer import SpoolWriter

    prose, encoder, engine = rollout_steps(STEPS_OF_PROSE), Encoder(), open_database(url, create=True)
    for number in range(runs):
        run_id, began = f"rl-bench-{number:04d}", 1_790_000_000.0 + 1000 * number
        run_dir = folder / "spools" / run_id
        config = {"model": {"name": "m"}, "training": {"learning_rate": 1e-5 * number}}
        writer = SpoolWriter(run_dir, run_id=run_id, attempt_uid=f"{number:032x}")
        result = {"run_id": run_id, "metrics": {"reward": number / runs}, "total_time_seconds": 600.0}
        writer.append(
            encoder.encode(
                [
                    RunStarted(
                        run_id=run_id, time=began, job_type="rl", task="bench", config=config, output_dir="o"
                    ),
                    AttemptBegan(run_id=run_id, time=began, step=0),
                ]
            )
        )
        left, step = rollouts, 0
        while left > 0:
            batch = prose[(number + step) % STEPS_OF_PROSE][: min(left, 128)]
            events: list[Any] = [
                RolloutFinished(
                    run_id=run_id, time=began + step, phase="rl", training=True, step=step, sample_id=one.sample,
                    group=f"{step}/{one.sample}", prompt=one.prompt, completion=one.completion,
                    reward=one.reward + (place * 7 + number) % 13 / 13, components=one.components,
                    advantage=one.advantage, trained=True, tokens=300,
                )
                for place, one in enumerate(batch)
            ]  # fmt: skip
            events.append(
                MetricsLogged(run_id=run_id, phase="rl", step=step + 1, values={"loss": 0.1, "reward": 0.5})
            )
            writer.append(encoder.encode(events))
            left, step = left - len(batch), step + 1
        writer.append(
            encoder.encode([RunFinished(run_id=run_id, time=began + 600, status="success", result=result)])
        )
        writer.close()
        recover(engine, run_dir)
    engine.dispose()


def make_job_folders(runs: int, folder: Path) -> None:
    """What each run has left in outputs/, newer than the database."""
    from tenyson.config.load import dump_config, parse_config
    from tenyson.core.run_folder import RunFolder
    from tenyson.jobs.result import JobResult

    for number in range(runs):
        job = RunFolder.of(folder / "outputs", f"rl-bench-{number:04d}")
        job.path.mkdir(parents=True)
        config = parse_config({"model": {"name": "m"}, "run": {"id": job.path.name}})
        job.config.write_text(dump_config(config), encoding="utf-8")
        JobResult(job.path.name, "success", 600.0, metrics={"reward": number / runs}).save(job.job_result)


def ask(url: str, run: str) -> dict[str, float]:
    """Median milliseconds of each query."""
    from sqlalchemy import text

    from tenyson.telemetry.database.engine import open_database
    from tenyson.telemetry.read.store import Store

    engine = open_database(url, create=False)
    store = Store(url)

    def sql(query: str) -> Callable[[], Any]:
        def run_it() -> Any:
            with engine.connect() as connection:
                return connection.execute(text(query), {"run": run}).all()

        return run_it

    queries: dict[str, Callable[[], Any]] = {
        "latest 100 rollouts of a run": lambda: store.rollouts(run, limit=100),
        "... by SQL on `rollouts`": sql(
            "SELECT * FROM rollouts WHERE run_id = :run ORDER BY step DESC, id DESC LIMIT 100"
        ),
        "worst 20 groups of a run": lambda: store.groups(run, worst=True, limit=20),
        "... by SQL on `groups`": sql(
            "SELECT * FROM groups WHERE run_id = :run AND reward_mean IS NOT NULL ORDER BY reward_mean LIMIT 20"
        ),
        "mean reward by step of a run": lambda: store.reward_by_step(run),
        "... by SQL on `groups` ": sql(
            "SELECT step, sum(n * reward_mean) / sum(n) FROM groups WHERE run_id = :run GROUP BY step ORDER BY step"
        ),
    }
    found = {}
    for name, query in queries.items():
        rows = query()
        assert rows, name
        seconds = []
        for _ in range(20):
            begin = time.perf_counter()
            query()
            seconds.append(time.perf_counter() - begin)
        found[name] = statistics.median(seconds) * 1e3
    store.close()
    engine.dispose()
    return found


def time_runs(url: str, folder: Path) -> float:
    """Median seconds of `tenyson runs` as a process."""
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        subprocess.run(
            [Path(sys.executable).with_name("tenyson"), "runs"],
            env=os.environ | {"TENYSON_DB_URL": url}, cwd=folder, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def main() -> None:
    """Generate, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rollouts", type=int, default=1000, help="of each run")
    parser.add_argument("--database", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = options.database or Path(scratch) / "scale.db"
        url = f"sqlite:///{path.resolve()}"
        if not path.exists():
            begin = time.perf_counter()
            generate(url, options.runs, options.rollouts, Path(scratch))
            seconds = time.perf_counter() - begin
            number = options.runs * options.rollouts
            print(
                f"{number:,} rollouts of {options.runs:,} runs written in {seconds:.0f} s, {path.stat().st_size / 1e6:,.0f} MB"
            )
        for name, milliseconds in ask(url, f"rl-bench-{options.runs // 2:04d}").items():
            print(f"{name:<32} {milliseconds:8.2f} ms  {'met' if milliseconds < 50 else 'NOT met'} (50 ms)")
        make_job_folders(options.runs, Path(scratch))
        seconds = time_runs(url, Path(scratch))
        print(
            f"{'tenyson runs, whole process':<32} {seconds:8.2f} s   {'met' if seconds < 0.5 else 'NOT met'} (0.5 s)"
        )


if __name__ == "__main__":
    main()
