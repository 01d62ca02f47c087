"""A virtual environment that has OpenEnv: its pins conflict with those of vLLM."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).parent / "guess_server.py"
ALONE = ["openenv==0.10.0"]
"""Without its dependencies: gradio and openai are for its tools, not for servers."""
WITH_DEPENDENCIES = ["fastmcp==3.4.11", "mcp==1.30.0", "fastapi", "uvicorn", "websockets", "requests"]


@pytest.fixture(scope="session")
def openenv_python(shared_cache: Path) -> Path:
    """Its interpreter; one worker installs it."""
    folder = shared_cache / "openenv"
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


@pytest.fixture(scope="session")
def served(openenv_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The task's arguments for a server that runs for all tests: each start takes two seconds."""
    from tenyson_openenv.pool import Pool
    from tenyson_openenv.settings import OpenEnvSettings

    command = [str(openenv_python), str(SERVER), "{port}"]
    events = tmp_path_factory.mktemp("served") / "events"
    pool = Pool(OpenEnvSettings(command=command, env={"EVENTS": str(events)}))
    pool.start()
    yield {"url": pool.first.url, "train_size": 8, "eval_size": 4}
    pool.end()


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """What the server's environments note: when they are opened and closed."""
    return tmp_path / "events"


@pytest.fixture
def arguments(openenv_python: Path, events: Path) -> Callable[..., dict[str, Any]]:
    """The task's arguments for a server with so many slots."""

    def made(*, slots: int = 64, **others: Any) -> dict[str, Any]:
        return {
            "command": [str(openenv_python), str(SERVER), "{port}"],
            "env": {"SLOTS": str(slots), "EVENTS": str(events)},
            "train_size": 8,
            "eval_size": 4,
            **others,
        }

    return made


def _run(*command: object) -> None:
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
