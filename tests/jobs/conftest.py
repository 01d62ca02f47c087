"""Fixtures for the jobs: small real models, and configurations that train them in a second."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TASKS = Path(__file__).parents[1] / "tasks"


@pytest.fixture(scope="session", autouse=True)
def model_cache(tmp_path_factory):
    """Models built on the spot are built once for all tests."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TENYSON_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def echo():
    """The single-turn test task."""
    from tenyson.tasks.load import load_task

    return load_task(str(TASKS / "echo_task.py"), {})


@pytest.fixture
def curriculum():
    """The test task with a memory, as it is at first."""
    from tenyson.tasks.load import load_task

    return load_task(str(TASKS / "curriculum_task.py"), {})


@pytest.fixture(scope="session")
def climb():
    """The multi-turn test task."""
    from tenyson.tasks.load import load_task

    return load_task(str(TASKS / "climb_task.py"), {})


@pytest.fixture(scope="session")
def make_configure() -> Callable[[Path], Callable[..., dict[str, Any]]]:
    """`configure` for a folder: for what several tests share."""

    def of(folder: Path) -> Callable[..., dict[str, Any]]:
        def make(run_id: str, **sections: Any) -> dict[str, Any]:
            config: dict[str, Any] = {
                "run": {"id": run_id, "output_dir": str(folder / "outputs")},
                "model": {"factory": "tenyson.testing.tiny:build"},
                "generation": {"max_new_tokens": 6, "engine": "transformers"},
                "telemetry": {"sinks": ["jsonl"]},
            }
            for name, section in sections.items():
                if isinstance(section, dict) and name != "model":
                    config[name] = {**config.get(name, {}), **section}
                else:
                    config[name] = section
            return copy.deepcopy(config)

        return make

    return of


@pytest.fixture
def configure(tmp_path, make_configure) -> Callable[..., dict[str, Any]]:
    """Makes a configuration: `configure("name", section={...})` over a small base."""
    return make_configure(tmp_path)


@pytest.fixture
def events(tmp_path) -> Callable[..., list[dict[str, Any]]]:
    """Reads what a run recorded: `events("name", "RolloutFinished")`."""

    def read(run_id: str, kind: str) -> list[dict[str, Any]]:
        lines = (tmp_path / "outputs" / run_id / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    return read


@pytest.fixture
def losses(events) -> Callable[[str], list[float]]:
    """The training losses of a run, step by step."""

    def read(run_id: str) -> list[float]:
        return [
            event["values"]["loss"] for event in events(run_id, "MetricsLogged") if "loss" in event["values"]
        ]

    return read
