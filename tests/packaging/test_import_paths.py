"""The specification's import paths, from wheels and for type checkers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PATHS = {
    "tenyson.cloud.aws": "AWSManager",
    "tenyson.cloud.modal": "ModalManager",
    "tenyson.jobs.sft": "SFTJob",
    "tenyson.jobs.rl": "RLJob",
    "tenyson.jobs.eval": "EvalJob",
    "tenyson.jobs.result": "JobResult",
    "tenyson.pipeline": "run_pipeline",
    "tenyson.core.control": "main",
    "tenyson.runner": "main",
    "tenyson.reporting": "ReportBuilder",
    "tenyson.examples.wordle.wordle_task": "WordleTask",
}

SNIPPET = (
    "\n".join(f"from {module} import {name}" for module, name in PATHS.items() if name != "main")
    + """

import tenyson.core.control
import tenyson.runner

wrong: int = JobResult.load("x").run_id
also_wrong: int = WordleTask().name
"""
)


@pytest.mark.slow
def test_every_import_path_of_the_specification_works_from_wheels(installed: object, tmp_path: Path) -> None:
    """Every path imports in a clean environment, without torch, and gives the name that the specification uses."""
    code = f"""
import importlib, json, sys
found = {{m: hasattr(importlib.import_module(m), n) for m, n in {PATHS!r}.items()}}
heavy = sorted({{"torch", "transformers", "boto3", "modal", "sqlalchemy"}} & set(sys.modules))
print(json.dumps([found, heavy]))
"""
    done = installed.run("python", "-c", code, cwd=tmp_path)  # type: ignore[attr-defined]
    assert done.returncode == 0, done.stderr
    found, heavy = json.loads(done.stdout)
    assert found == dict.fromkeys(PATHS, True)
    assert heavy == []


@pytest.mark.slow
def test_the_wordle_task_is_also_a_file(installed: object) -> None:
    """Specification, runner cli: --task-module takes tenyson/examples/wordle/wordle_task.py; wheels have that file."""
    folder = installed.site_packages / "tenyson" / "examples" / "wordle"  # type: ignore[attr-defined]
    assert (folder / "wordle_task.py").is_file()
    assert (folder / "configs" / "sft_config.yaml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["editable", "wheels"])
def test_mypy_resolves_the_import_paths(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """mypy sees the types behind every path: it misses no import, and finds exactly the two planted mistakes."""
    python = sys.executable if where == "editable" else str(request.getfixturevalue("installed").python)
    (tmp_path / "snippet.py").write_text(SNIPPET, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", "", "--python-executable", python, "snippet.py"]
    done = subprocess.run(
        [*command, "--follow-imports", "silent", "--cache-dir", str(tmp_path / "cache")],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 2, done.stdout + done.stderr
    assert all("Incompatible types in assignment" in error for error in errors), done.stdout
