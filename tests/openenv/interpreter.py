"""A Python that has OpenEnv: its pins conflict with those of vLLM."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

ALONE = ["openenv==0.10.0"]
"""Without its dependencies: gradio and openai are for its tools, not for servers."""
WITH_DEPENDENCIES = ["fastmcp==3.4.11", "mcp==1.30.0", "fastapi", "uvicorn", "websockets", "requests"]


def make_interpreter(folder: Path) -> Path:
    """The interpreter of a virtual environment in `folder`, which is made there by the first that asks for it."""
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "venv" / "bin" / "python"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            _run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
            pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "--python", python]
            _run(*pip, "install", "--no-compile", "--no-deps", *ALONE)
            _run(*pip, "install", "--no-compile", *WITH_DEPENDENCIES)
            (folder / "made").touch()
    return python


def _run(*command: object) -> None:
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
