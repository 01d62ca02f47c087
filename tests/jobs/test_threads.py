"""A job uses the machine's cores, and its waiting threads leave them to others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = """
import os, sys
from tenyson import runner
try:
    runner.main(["--job-type", "sft", "--config", "missing.yaml", "--task-module", "missing.py"])
finally:
    print("torch" in sys.modules, os.environ.get("OMP_WAIT_POLICY"), os.environ.get("KMP_BLOCKTIME"), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "False passive 0"), ({"OMP_WAIT_POLICY": "active", "KMP_BLOCKTIME": "7"}, "False active 7")],
)
def test_a_job_lets_its_threads_sleep_before_torch_is_loaded_unless_the_user_says_otherwise(given, expected):
    kept = {
        name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME")
    }
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=kept | given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr.strip().endswith(expected)


@pytest.mark.parametrize(("target", "expected"), [("demo", ""), ("test", "1")])
def test_make_limits_the_threads_of_tests_and_not_of_the_demo(target, expected, tmp_path):
    """The recipes are replaced, so that nothing is installed or run."""
    text = (ROOT / "Makefile").read_text()
    kept = [
        line
        for line in text.splitlines()
        if line.startswith(("export ", "test test-fast")) and "export" in line
    ]
    assert any("OMP_NUM_THREADS" in line for line in kept)
    show = 'demo test:\n\t@echo "[$$OMP_NUM_THREADS]"\n'
    (tmp_path / "Makefile").write_text("\n".join([*kept, show]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MAKE"))}
    done = subprocess.run(
        ["make", "-s", target], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"[{expected}]"
