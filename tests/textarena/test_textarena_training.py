"""Jobs on textarena: RL and evaluation of no line of Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.train, pytest.mark.slow]

CONFIG = {
    "model": {"factory": "tenyson.testing.tiny:build", "factory_args": {"width": 32, "context": 1024}},
    "generation": {"engine": "transformers", "max_new_tokens": 6, "max_turns": 4},
    "training": {"max_steps": 2, "batch_size": 8, "num_generations": 4},
    "evaluation": {"samples": 8},
    "run": {"allow": ["eos"]},
    "task": {"args": {"train_size": 16, "eval_size": 8}},
}


@pytest.fixture(autouse=True)
def one_cache(monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> None:
    monkeypatch.setenv("TENYSON_CACHE", str(shared_cache))


def tenyson(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tenyson", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rl_and_evaluation_run_from_the_command_line_alone(tmp_path: Path) -> None:
    """A name, a game and a configuration of model and training; every component is recorded."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    for job in ("rl", "eval"):
        tenyson(
            *("run", "--task", "textarena", "--job", job, "--config", "config.yaml", "--run-id", job),
            *("--set", "task.args.env=Nim-v0", "--set", "task.args.env_args.piles=[1, 2]"),
            # An untrained model's first moves are invalid, so in half of the games there is nothing to learn from.
            *(("--set", "task.args.opponent=self") if job == "rl" else ()),
            cwd=tmp_path,
        )
        lines = (tmp_path / "outputs" / job / "events.jsonl").read_text().splitlines()
        recorded = [one for one in map(json.loads, lines) if one["event"] == "RolloutFinished"]
        assert recorded
        assert all(one["sample_id"].startswith("Nim-v0/") for one in recorded)
        assert set(recorded[0]["components"]) == {"game", "invalid"}
    results = json.loads((tmp_path / "outputs" / "eval" / "results.json").read_text())["metrics"]
    assert results["finished"]["n"] == 8
    assert set(results) >= {"reward", "won", "finished", "invalid"}


def test_an_evaluation_plays_against_itself(tmp_path: Path) -> None:
    """The other seat is recorded beside the conversation that is measured."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    command = (
        *("run", "--task", "textarena", "--job", "eval", "--config", "config.yaml", "--run-id", "eval"),
        *("--set", "task.args.env=Nim-v0", "--set", "task.args.opponent=self"),
    )
    tenyson(*command, cwd=tmp_path)
    lines = (tmp_path / "outputs" / "eval" / "events.jsonl").read_text().splitlines()
    recorded = [one for one in map(json.loads, lines) if one["event"] == "RolloutFinished"]
    assert len(recorded) == 8
    others = [one["info"].get("further", []) for one in recorded]
    assert all(other["trained"] is False for found in others for other in found)
    assert any(others)
    metrics = json.loads((tmp_path / "outputs" / "eval" / "results.json").read_text())["metrics"]
    assert set(metrics) >= {"reward", "won", "finished", "invalid", "won/seat_0", "won/seat_1"}


def test_a_wrong_game_is_refused_with_its_line_before_anything_runs(tmp_path: Path) -> None:
    """`config check` asks the package."""
    (tmp_path / "config.yaml").write_text(
        "model: {name: x}\ntask:\n  name: textarena\n  args:\n    env: Nimm-v0\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tenyson", "config", "check", "config.yaml", "--job", "rl"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "config.yaml:5: task.args.env" in done.stderr
    assert "did you mean Nim-v0?" in done.stderr


def test_a_configuration_without_a_game_is_refused(tmp_path: Path) -> None:
    """The task alone is enough for its presets, and not for a job."""
    (tmp_path / "config.yaml").write_text("model: {name: x}\n")
    for command in (
        ["config", "check", "config.yaml", "--job", "rl", "--set", "task.name=textarena"],
        ["run", "--task", "textarena", "--job", "rl", "--config", "config.yaml"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "tenyson", *command],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "task.args: there is no game: set env" in done.stderr
    assert not (tmp_path / "outputs").exists()
