"""What the SQL sink's thread costs beside a training, in processor time: on a busy machine, too, that says something.

    python benchmarks/telemetry/ship.py [--repeat 3]

Prints medians: of a transaction that stores one logged step, as there are four a second in a quick training, and of a
rollout, where transactions are full. Into SQLite, by the public parts that the sink uses.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from workload import numbers, rollout_steps

TRANSACTIONS, ROLLOUT_STEPS = 300, 160
RUN = "bench"


def shipped(
    batches: list[list[Any]], folder: Path, quick: bool, after: Callable[[int], bool]
) -> list[tuple[int, float]]:
    """Events and processor seconds of each transaction; one is made wherever `after` says so of a batch's number."""
    from tenyson.telemetry.database.engine import open_database
    from tenyson.telemetry.events.encoder import Encoder
    from tenyson.telemetry.spool.shipper import Shipper
    from tenyson.telemetry.spool.writer import SpoolWriter

    engine, encoder = open_database(f"sqlite:///{folder}/t.db", create=True), Encoder()
    writer = SpoolWriter(folder, run_id=RUN, attempt_uid="0" * 32)
    shipper, found = Shipper(engine, writer.folder, writer.header), []
    for number, events in enumerate(batches):
        writer.append(encoder.encode(events))
        if after(number):
            begin = time.process_time()
            while stored := shipper.ship(quick=quick):
                found.append((stored, time.process_time() - begin))
                begin = time.process_time()
    writer.close()
    engine.dispose()
    return found


def main() -> None:
    """Measure and print."""
    from tenyson.telemetry.events import MetricsLogged, RolloutFinished

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    steps = [
        [MetricsLogged(run_id=RUN, phase="sft", step=step, values=numbers(step))]
        for step in range(TRANSACTIONS)
    ]
    rollouts = [
        [
            RolloutFinished(
                run_id=RUN, phase="rl", training=True, step=step, sample_id=one.sample, group=one.group, prompt=one.prompt,
                completion=one.completion, reward=one.reward, components=one.components, advantage=one.advantage,
                trained=True, tokens=300,
            )
            for one in batch
        ]
        for step, batch in enumerate(rollout_steps(ROLLOUT_STEPS))
    ]  # fmt: skip
    small, full = [], []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            small += [seconds for _, seconds in shipped(steps, Path(folder), False, lambda _: True)]
        with tempfile.TemporaryDirectory() as folder:
            done = shipped(rollouts, Path(folder), True, lambda number: number == ROLLOUT_STEPS - 1)
            full += [seconds / stored for stored, seconds in done]
    print(f"a transaction of one logged step: {statistics.median(small) * 1e3:.2f} ms of processor time")
    print(f"a rollout in full transactions: {statistics.median(full) * 1e6:.1f} us of processor time")


if __name__ == "__main__":
    main()
