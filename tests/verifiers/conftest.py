"""A virtual environment that has verifiers: its pins conflict with those of training."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def verifiers_python(shared_cache: Path) -> Path:
    """Its interpreter; one worker installs it."""
    folder = shared_cache / "verifiers"
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "venv" / "bin" / "python"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            _run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
            pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "--python", python]
            _run(*pip, "install", "--no-compile", "verifiers==0.4.0", "uv")
            site = next((folder / "venv" / "lib").glob("python*/site-packages"))
            # Before it first starts: a process of it keeps the path that it began with, for all tests of a worker.
            recipe = Path(__file__).parents[2] / "docs/examples/small_letters"
            (site / "tests.pth").write_text(f"{Path(__file__).parent}\n{recipe}\n")
            (folder / "made").touch()
    return python


def _run(*command: object) -> None:
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
