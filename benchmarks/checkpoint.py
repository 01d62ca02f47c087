"""What a checkpoint costs training: the stall of a background save beside a synchronous one, and the share at an interval.

    python benchmarks/checkpoint.py [--width 512] [--layers 8] [--repeat 5]

One model, trained by SFTJob's own trainer on one CPU; AdamW, so that a checkpoint holds three times the weights. "Synchronous" is
the same save, waited for; "transformers" is the Trainer's own. Prints a table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tenyson.tasks import Sample, TaskPlugin


class Letters(TaskPlugin):
    """Long rows of letters."""

    def sft_samples(self, split: str, seed: int) -> list[Sample]:  # noqa: ARG002
        return [
            Sample(
                id=str(index),
                prompt=[{"role": "user", "content": "a"}],
                completion=[{"role": "assistant", "content": "abcdefgh" * 24}],
            )
            for index in range(256)
        ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()

    from transformers import Trainer

    from tenyson.jobs.checkpoints import trainer_mixin
    from tenyson.jobs.sft import SFTJob
    from tenyson.jobs.trainers.sft_trainer import CheckpointedSFTTrainer

    stalls: dict[str, list[float]] = {"background": [], "synchronous": [], "transformers": []}
    steps: list[float] = []
    mode = "background"
    save = trainer_mixin.CheckpointMixin._save_checkpoint

    def timed(self: Any, model: Any, trial: Any) -> None:
        self._saver.wait()  # each save alone: what is measured is one, not a queue of them
        begun = time.perf_counter()
        if mode == "transformers":
            Trainer._save_checkpoint(self, model, trial)
        else:
            save(self, model, trial)
            if mode == "synchronous":
                self._saver.wait()
        stalls[mode].append(time.perf_counter() - begun)

    training_step = CheckpointedSFTTrainer.training_step

    def stepped(self: Any, *arguments: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        output = training_step(self, *arguments, **named)
        steps.append(time.perf_counter() - begun)
        return output

    trainer_mixin.CheckpointMixin._save_checkpoint = timed  # type: ignore[method-assign]
    CheckpointedSFTTrainer.training_step = stepped
    size = 0
    for mode in stalls:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            training = {"max_steps": 3 * (options.repeat + 1), "save_steps": 3, "batch_size": 4}
            arguments = {"width": options.width, "layers": options.layers, "context": 256}
            config = {
                "run": {"id": "run", "output_dir": folder},
                "model": {"factory": "tenyson.testing.tiny:build", "factory_args": arguments},
                "training": training,
                "telemetry": {"sinks": []},
            }
            SFTJob(config, Letters()).run()
            if mode == "background":
                newest = next((Path(folder) / "run/checkpoints").glob("step-*"))
                size = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
    # The first save of each makes room in memory.
    medians = {name: statistics.median(seconds[1:]) for name, seconds in stalls.items()}
    step = statistics.median(steps)
    print(f"checkpoint of {size / 2**20:.0f} MiB; a step takes {step:.2f} s; medians of {options.repeat}\n")
    print(
        "| save | training waits, s | of a synchronous save | share of an hour at a save every 10 minutes |"
    )
    print("| --- | --- | --- | --- |")
    for name, seconds in medians.items():
        share = seconds / 600
        print(f"| {name} | {seconds:.3f} | {seconds / medians['synchronous']:.2f} | {share:.2%} |")


if __name__ == "__main__":
    main()
