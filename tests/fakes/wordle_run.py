"""`tenyson run --task wordle` in its smallest form, on any backend, and what a user sees of it, without what differs between two runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

STEPS = ("baseline", "sft", "eval-sft", "rl", "eval")
SETS = (
    "evaluation.samples=6", "evaluation.samples_per_prompt=2", "training.max_steps=4", "training.eval_samples=16",
    "training.logging_steps=1", "training.save_steps=2", "training.batch_size=32",
    "task.args.sft_games=2048",
)  # fmt: skip
OWN_FILES = {
    "machine.json",
    "sync.json",
    "relay.json",
    "process.json",
    "guard.log",
    "heartbeat.json",
    "spool",
}
"""How a backend keeps a job: not what the job made."""


def start(folder: Path, backend: str) -> subprocess.Popen[str]:
    """The pipeline `w`, in a folder."""
    words = [
        "--task",
        "wordle",
        "--backend",
        backend,
        "--run-id",
        "w",
        "--on-failure",
        "retry",
        "--retries",
        "0",
    ]
    sets = [word for one in SETS for word in ("--set", one)]
    return subprocess.Popen(
        [sys.executable, "-m", "tenyson", "run", *words, *sets],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
    )  # fmt: skip


def likeness(said: str, folder: Path) -> dict[str, Any]:
    """What must be the same wherever the pipeline ran."""
    outputs = folder / "outputs"
    return {
        "printed": [_plain(line) for line in said.splitlines() if not _of_the_backend(line)],
        "files": {
            step: sorted(path.name for path in (outputs / f"w-{step}").iterdir() if _of_the_job(path))
            for step in STEPS
        },
        "metrics": {step: _measured(outputs / f"w-{step}" / "results.json") for step in STEPS},
    }


def _measured(path: Path) -> dict[str, Any]:
    metrics = json.loads(path.read_text())["metrics"]
    return {name: value for name, value in metrics.items() if not name.endswith(("runtime", "per_second"))}


def _of_the_backend(line: str) -> bool:
    """What it rents and costs is its own business; progress comes when it comes; steps are examined ahead only here."""
    text = re.sub(r"^(?:\[[\w-]+\]|[\w-]+:) (?=\$|aws|modal|step)", "", line)
    return (
        bool(re.match(r"aws: |modal: |\$[\d.]+ an hour|step \d+/\d+|[^ ]+: at most \$|preflight: ", text))
        or "preemption" in text
    )


def _plain(line: str) -> str:
    """Without figures of this very run; a column is as wide as they are."""
    line = re.sub(r"\d+(?:\.\d+)?(?: (?:s|min|h))?", "#", line)
    return re.sub(r"(?:# )*#|\s+", lambda found: "#" if "#" in found[0] else " ", line).strip()


def _of_the_job(path: Path) -> bool:
    return path.name not in OWN_FILES and not path.name.startswith(".")
