"""benchmarks/gpu.py is ready for somebody who has a GPU: it says what is missing, and its code runs on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.train

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_without_a_gpu_it_says_so_and_measures_nothing():
    done = run()
    assert done.returncode == 2
    assert "no GPU is visible to torch" in done.stderr
    assert "--dry-run" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_a_dry_run_fills_the_table_on_a_cpu():
    """All but what is vLLM's or a card's."""
    done = run("--dry-run")
    assert done.returncode == 0, done.stderr
    rows = {line.split(" | ")[0]: line.split(" | ")[1:] for line in done.stdout.splitlines()}
    for name in ("| GRPO step, s", "| evaluation, tokens/s"):
        assert all(float(cell.rstrip(" |")) > 0 for cell in rows[name])
    assert [cell.rstrip(" |") for cell in rows["| LoRA update, s"]] == ["-"] * 3
    assert float(rows["| SFT"][0]) > 0
