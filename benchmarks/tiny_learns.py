"""Does the tiny Wordle preset learn? Runs it with several seeds and prints one row for each, and whether it passed.

The bar: untrained below 1% wins; after SFT at least 30% wins and 90% legal guesses; after GRPO at least 20 points
more wins than after SFT and no fewer legal guesses, the difference paired by secret with a 95% interval above 0.
Every evaluation plays at least 1,000 games over the whole lexicon. Exit status 1 if a seed fails.

    OMP_NUM_THREADS=2 python benchmarks/tiny_learns.py [--seeds 0 1 2] [--output-dir outputs]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tenyson.reporting.statistics import paired_difference, sample_means

STAGES = ("baseline", "eval-sft", "eval")


def run_preset(seed: int, output_dir: str) -> tuple[dict[str, Path], float]:
    """Run the preset; returns each evaluation's folder and the seconds that the pipeline took."""
    run_id = f"tiny-seed-{seed}-{int(time.time())}"
    command = [
        sys.executable,
        "-m",
        "tenyson",
        "run",
        "--task",
        "wordle",
        "--preset",
        "tiny",
        "--run-id",
        run_id,
        "--set",
        f"run.seed={seed}",
    ]
    begun = time.monotonic()
    done = subprocess.run(
        [*command, "--output-dir", output_dir, "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"seed {seed}: tenyson run ended with status {done.returncode}")
    seconds = time.monotonic() - begun
    steps = json.loads(done.stdout)["steps"]
    return {step["label"]: Path(step["result"]["local_output_dir"]) for step in steps}, seconds


def wins(folder: Path) -> dict[str, float]:
    """Share of games won, by secret."""
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    games = [event for event in events if event["event"] == "RolloutFinished"]
    return sample_means((game["sample_id"], float(game["info"]["won"])) for game in games)


def measure(seed: int, output_dir: str) -> tuple[list[str], list[str]]:
    """One row of the table, and what failed."""
    folders, seconds = run_preset(seed, output_dir)
    results = {stage: json.loads((folders[stage] / "results.json").read_text()) for stage in STAGES}
    metrics: dict[str, dict[str, Any]] = {stage: results[stage]["metrics"] for stage in STAGES}
    gain = paired_difference(wins(folders["eval-sft"]), wins(folders["eval"]))
    untrained, sft, rl = (metrics[stage]["win_rate"]["value"] for stage in STAGES)
    legal_sft, legal_rl = (metrics[stage]["legal_guesses"]["value"] for stage in STAGES[1:])
    checks = {
        "at least 1,000 games": all(metrics[stage]["win_rate"]["n"] >= 1000 for stage in STAGES),
        "untrained below 1%": untrained < 0.01,
        "SFT wins at least 30%": sft >= 0.30,
        "SFT guesses at least 90% legal": legal_sft >= 0.90,
        "GRPO wins at least 20 points more": rl - sft >= 0.20,
        "GRPO guesses no less legal": legal_rl >= legal_sft,
        "paired difference above 0": gain.low > 0,
    }
    held_out = [metrics[stage]["win_rate/held_out_secrets"]["value"] for stage in STAGES[1:]]
    row = [
        str(seed),
        f"{untrained:.1%}",
        f"{sft:.1%} ({legal_sft:.1%})",
        f"{rl:.1%} ({legal_rl:.1%})",
        f"{gain.value * 100:+.1f} [{gain.low * 100:+.1f}, {gain.high * 100:+.1f}]",
        f"{held_out[0]:.1%} → {held_out[1]:.1%}",
        f"{seconds:.0f} s",
    ]
    return row, [name for name, passed in checks.items() if not passed]


def main() -> None:
    """Read the command line, run all seeds, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output-dir", default="outputs")
    options = parser.parse_args()
    rows, failures = [], []
    for seed in options.seeds:
        row, failed = measure(seed, options.output_dir)
        rows.append(row)
        failures += [f"seed {seed}: {name}" for name in failed]
    print(
        "| seed | untrained | after SFT (legal) | after GRPO (legal) | gain, paired by secret | held-out slice | pipeline |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    for failure in failures:
        print(f"FAILED {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
