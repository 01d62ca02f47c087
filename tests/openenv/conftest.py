"""A real OpenEnv server for tests, as a process of an interpreter of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.openenv.interpreter import make_interpreter

SERVER = Path(__file__).parent / "guess_server.py"


@pytest.fixture(scope="session")
def openenv_python(shared_cache: Path) -> Path:
    """An interpreter that has OpenEnv; one worker installs it."""
    return make_interpreter(shared_cache / "openenv")


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
