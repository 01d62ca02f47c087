"""What is recorded of each attempt: what was asked, with which code, packages and machine, and how it ended."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tenyson.telemetry.provenance import config_hash, gather


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@y.z"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "file").write_text("one\n")
    git(folder, "add", "file")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def test_the_commit_and_what_differs_from_it_are_recorded(repository):
    """A hash of the changes, not the changes; none for a clean tree, nothing outside of a repository."""
    clean = gather({}, folder=repository)
    assert clean["git_commit"] == git(repository, "rev-parse", "HEAD")
    assert clean["git_diff_hash"] is None
    (repository / "file").write_text("two\n")
    changed = gather({}, folder=repository)
    assert re.fullmatch("[0-9a-f]{64}", changed["git_diff_hash"])
    (repository / "file").write_text("three\n")
    assert gather({}, folder=repository)["git_diff_hash"] != changed["git_diff_hash"]
    assert gather({}, folder=Path("/"))["git_commit"] is None


def test_two_runs_that_were_asked_for_the_same_have_the_same_hash():
    """Whatever they are called, and in whatever order the keys stand."""
    first = {"run": {"id": "a", "seed": 1, "output_dir": "x"}, "training": {"learning_rate": 0.1}}
    second = {"training": {"learning_rate": 0.1}, "run": {"seed": 1, "id": "b", "output_dir": "y"}}
    assert config_hash(first) == config_hash(second)
    assert config_hash(first) != config_hash({**first, "run": {"seed": 2}})


def test_versions_of_everything_installed_are_recorded():
    """Not only of what Tenyson names."""
    found = gather({})["versions"]
    assert found["tenyson-core"] == version("tenyson-core")
    assert len(found) > 20


@pytest.mark.train
def test_an_attempt_of_a_real_job_says_all_of_that(configure, echo, tmp_path, monkeypatch):
    """In `attempts`, with its lineage; and neither the command line nor the environment is anywhere."""
    from tenyson.jobs.eval import EvalJob
    from tenyson.jobs.sft import SFTJob

    monkeypatch.setattr(sys, "argv", ["job", "--note", "an-argument-of-mine"])
    monkeypatch.setenv("NOTE", "a-variable-of-mine")
    database = {"db_url": f"sqlite:///{tmp_path}/t.db", "sinks": ["sql"]}
    lora = {"r": 2, "target_modules": "all-linear"}
    SFTJob(
        configure("sft", training={"max_steps": 2, "batch_size": 4}, telemetry=database, peft=lora), echo
    ).run()
    model = {"factory": "tenyson.testing.tiny:build", "adapter": "sft"}
    EvalJob(configure("eval", model=model, telemetry=database, evaluation={"samples": 4}), echo).run()
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.row_factory = sqlite3.Row
        attempts = {row["run_id"]: dict(row) for row in connection.execute("SELECT * FROM attempts")}
        lineage = connection.execute(
            "SELECT kind, reference, source_run_id FROM lineage WHERE run_id = 'eval' ORDER BY kind"
        ).fetchall()
        dump = "\n".join(connection.iterdump())
    sft = attempts["sft"]
    assert (sft["status"], sft["exit_reason"], sft["began_at_step"], sft["processes"]) == (
        "success",
        "completed",
        0,
        1,
    )
    assert json.loads(sft["versions"])["torch"] == version("torch")
    assert sft["accelerator"] in ("cpu",) or " x " in sft["accelerator"]
    assert sft["host"]
    assert sft["started_at"] < sft["finished_at"] <= sft["heartbeat_at"]
    assert json.loads(sft["config"])["training"]["max_steps"] == 2
    assert [tuple(row) for row in lineage] == [
        ("adapter", "sft", "sft"), ("factory", "tenyson.testing.tiny:build", None), ("task", "echo", None),
    ]  # fmt: skip
    assert "an-argument-of-mine" not in dump
    assert "a-variable-of-mine" not in dump
