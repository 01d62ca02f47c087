"""What is recorded of each attempt: what was asked, with which code, packages and machine, and how it ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tenyson.cli.main import main
from tenyson.config.load import parse_config
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import RolloutFinished, RunStarted
from tenyson.telemetry.events.provenance import config_hash, gather, git_state, launch_environment


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


@pytest.mark.slow
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


def state(repository: Path, *files: Path) -> str | None:
    """The changes, the tree being at its commit."""
    found = git_state(repository, files)
    assert found["git_commit"] == git(repository, "rev-parse", "HEAD")
    return found["git_diff_hash"]


@pytest.fixture
def slow_git(tmp_path, monkeypatch):
    """A git whose `diff` takes longer than anybody waits."""
    real = shutil.which("git")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "git"
    script.write_text(f'#!/bin/sh\ncase "$*" in *" diff "*) exec sleep 20;; esac\nexec {real} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("tenyson.telemetry.events.git._SECONDS", 1)
    return lambda: monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_tree_that_git_could_not_look_at_is_unknown_with_the_reason(repository, slow_git, monkeypatch):
    """Never "clean": too slow, a damaged index, changes that git was told to overlook, no commit, no git."""
    git(repository, "update-index", "--assume-unchanged", "file")
    (repository / "file").write_text("two\n")
    assert state(repository) == "unknown: git ignores changes of file and 0 more"
    git(repository, "update-index", "--no-assume-unchanged", "file")
    (repository / "nested").mkdir()
    git(repository / "nested", "init", "-q")
    git(repository / "nested", "commit", "-q", "--allow-empty", "-m", "nested")
    assert state(repository) == "unknown: nested/ is a repository of its own"
    shutil.rmtree(repository / "nested")
    index = repository / ".git" / "index"
    whole = index.read_bytes()
    index.write_bytes(b"DIRC" + b"\xff" * 40)
    assert state(repository).startswith("unknown: git ls-files: ")
    index.write_bytes(whole)
    fresh = repository.with_name("fresh")
    fresh.mkdir()
    git(fresh, "init", "-q")
    assert git_state(fresh) == {
        "git_commit": None, "git_diff_hash": "unknown: the repository has no commit yet",
    }  # fmt: skip
    assert git_state(Path("/"))["git_diff_hash"] == "unknown: no git repository"
    slow_git()
    assert state(repository) == "unknown: git diff took longer than 1 s"
    monkeypatch.setenv("PATH", "/nowhere")
    assert git_state(repository)["git_diff_hash"].startswith("unknown: git cannot be started")


def test_a_converter_of_diffs_that_is_missing_hides_no_change(repository):
    """What decides is what the files hold, not how somebody likes to see it."""
    (repository / "file").write_text("two\n")
    plain = state(repository)
    (repository / ".git" / "info" / "attributes").write_text("file diff=nb\n")
    git(repository, "config", "diff.nb.textconv", "/no/such/tool")
    git(repository, "config", "diff.external", "/no/such/tool")
    assert state(repository) == plain


def test_code_that_git_does_not_track_is_a_change(repository):
    """The task's own file counts wherever it is, also where .gitignore names it; outputs and data do not."""
    (repository / ".gitignore").write_text("mine.py\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-q", "-m", "two")
    (repository / "outputs").mkdir()
    (repository / "outputs" / "events.jsonl").write_text("{}\n")
    assert state(repository, repository / "file") is None
    helper = repository / "outputs" / "helper.py"
    helper.write_text("1\n")
    first = state(repository)
    assert re.fullmatch("[0-9a-f]{64}", first)
    helper.write_text("2\n")
    assert state(repository) not in (None, first)
    helper.unlink()
    for task in (repository / "mine.py", repository.parent / "elsewhere.py"):
        task.write_text("class Task: ...\n")
        assert state(repository, task) is not None
        assert state(repository, Path(f"{task}:Task")) == state(repository, task)
    assert state(repository) is None


def test_a_job_elsewhere_records_the_code_of_the_machine_that_launched_it(repository, monkeypatch):
    """Its own working directory is in no repository."""
    (repository / "file").write_text("two\n")
    here = git_state(repository, ["file"])
    for name, value in launch_environment(repository, "file").items():
        monkeypatch.setenv(name, value)
    found = gather({}, folder=Path("/"))
    assert here["git_diff_hash"] is not None
    assert {key: found[key] for key in here} == here


def test_what_was_sent_along_and_cannot_be_read_is_unknown(monkeypatch):
    """On a rented machine."""
    monkeypatch.setenv("TENYSON_GIT", '{"git_commit": ')
    assert gather({})["git_diff_hash"] == "unknown: TENYSON_GIT cannot be read"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (None, "commit 5f0c3a9d5f0c"),
        ("e" * 64, "commit 5f0c3a9d5f0c + uncommitted changes"),
        ("unknown: git diff failed", "commit 5f0c3a9d5f0c, changes unknown (git diff failed)"),
    ],
)
def test_commands_tell_unknown_from_clean(tmp_path, monkeypatch, capsys, changes, told):
    """show, lineage and compare; compare speaks of code where it is not known to be the same."""
    url = f"sqlite:///{tmp_path}/t.db"
    monkeypatch.setenv("COLUMNS", "200")
    for name, found in (("one", None), ("two", changes)):
        config = parse_config(
            {"model": {"name": "unused"}, "run": {"id": name}, "telemetry": {"db_url": url, "sinks": ["sql"]}}
        )
        telemetry = open_telemetry(config, tmp_path / name, run_id=name, attempt_uid=f"{name:a<32}")
        about = {"git_commit": "5f0c3a9d" * 5, "git_diff_hash": found}
        telemetry.emit(
            RunStarted(run_id=name, job_type="eval", task="echo", config={}, output_dir="x", provenance=about),
            RolloutFinished(
                run_id=name, phase="eval", training=False, step=0, sample_id="s", group="s", prompt="p", completion="c",
                reward=1.0, components={}, finish_reason="stop", tokens=1, info={},
            ),
        )  # fmt: skip
        telemetry.close()

    def call(*arguments):
        assert main([*arguments, "--db-url", url]) == 0
        return capsys.readouterr().out

    assert re.search(f"{re.escape(told)}$", call("show", "two"), re.MULTILINE)
    assert f"{told}, config" in call("lineage", "two")
    compared = call("compare", "one", "two")
    assert ("code: " in compared) == (changes is not None)
    assert changes is None or f"{told} of two" in compared


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
