"""docs/how-to/job-kind.md: the kind of job on that page is built and installed as it stands, and used like core's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tenyson.plugins.job_kinds import JOB_KINDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "job-kind.md"
ECHO = ROOT / "tests" / "tasks" / "echo_task.py"
TINY = {"model": {"factory": "tenyson.testing.tiny:build"}}
TRAINING = {"training": {"max_steps": 4, "batch_size": 2, "save_steps": 2, "logging_steps": 1}}


@pytest.fixture(scope="module")
def installed(installed_page):
    return installed_page(PAGE)


@pytest.fixture
def tenyson(installed, tmp_path):
    def run(*arguments, rc=0):
        done = subprocess.run(
            [Path(sys.executable).parent / "tenyson", *arguments],
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == rc, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def write(folder, name, data):
    path = folder / name
    path.write_text(yaml.safe_dump(data))
    return str(path)


@pytest.mark.slow
def test_it_is_listed_offered_and_checked_like_core_s_own_kinds(tenyson, tmp_path):
    """In the list of plugins, in choices, in the schema of experiments, and against its own tables."""
    row = next(line for line in tenyson("plugins").splitlines() if "confident" in line)
    assert row.split()[0] == "job"
    assert row.split()[-2:] == ["acme-confident", "1.0"]
    tenyson("plugins", "--check")
    assert f"[{'|'.join(JOB_KINDS)}|confident]" in "".join(tenyson("run", "--help").split())
    schema = json.loads(tenyson("config", "schema", "--experiment"))
    assert "confident" in schema["$defs"]["StepEntry"]["properties"]["job"]["enum"]
    config = write(tmp_path, "c.yaml", {**TINY, "generation": {"max_turns": 3}})
    said = tenyson("config", "check", config, "--job", "confident")
    assert "generation: means nothing to confident (read by rl and eval)" in said
    said = tenyson("run", "--config", config, "--job", "confidant", rc=2)
    assert f"'confidant' is not one of {', '.join(map(repr, JOB_KINDS))}, 'confident'" in said


@pytest.mark.train
def test_a_step_of_it_trains_between_core_s_and_is_reported(tenyson, tmp_path):
    """An experiment with all three: planned, run, handed over, reported with its own chart."""
    file = write(
        tmp_path,
        "experiment.yaml",
        {
            "shared": {**TINY, **TRAINING, "task": {"module": str(ECHO)}},
            "steps": [
                {"label": "warm", "job": "sft"},
                {"label": "sure", "job": "confident", "model_from": "warm"},
                {
                    "label": "after",
                    "job": "eval",
                    "model_from": "sure",
                    "config": {"evaluation": {"samples": 4}, "generation": {"max_new_tokens": 4}},
                },
            ],
        },
    )
    assert "sequences a step" in tenyson("run", file, "--dry-run")
    tenyson("run", file, "--run-id", "mixed")
    [results] = [
        json.loads(path.read_text())
        for path in tmp_path.rglob("results.json")
        if json.loads(path.read_text())["job_type"] == "confident"
    ]
    assert results["metadata"]["steps"] == 4
    report = next(tmp_path.rglob("report.md")).read_text()
    assert "| sure | confident | success |" in report
    assert "sure: loss by step" in report
    rows = tenyson("sql", "SELECT DISTINCT phase FROM metrics ORDER BY phase", "--json")
    assert {"conf", "sft", "eval"} == {row["phase"] for row in json.loads(rows)}


@pytest.mark.train
@pytest.mark.slow
def test_doctor_and_verify_resume_take_it(tenyson, tmp_path):
    """Nothing to complain about, and a resumed training is the same to the bit."""
    # A save in the background could still be on its way at the kill.
    training = {
        "training": TRAINING["training"] | {"max_steps": 6, "save_steps": 1, "save_in_background": False}
    }
    config = write(tmp_path, "c.yaml", {**TINY, **training, "task": {"module": str(ECHO)}})
    said = tenyson("doctor", "--config", config, "--job", "confident")
    assert "error" not in said
    assert "identical to the bit" in tenyson("verify-resume", "--config", config, "--job", "confident")


@pytest.mark.train
def test_a_run_of_a_kind_that_is_not_installed_can_still_be_read(installed, tmp_path, tenyson):
    """A colleague without the plugin lists and shows it."""
    config = write(tmp_path, "c.yaml", {**TINY, **TRAINING, "task": {"module": str(ECHO)}})
    tenyson("run", "--config", config, "--job", "confident", "--run-id", "mine")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for command in (["runs"], ["show", "mine"], ["metrics", "mine"]):
        done = subprocess.run(
            [Path(sys.executable).parent / "tenyson", *command],
            env=environment,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
    assert "confident" in done.stdout or command == ["metrics", "mine"]
