"""A checkpoint is there whole or not at all: killed at every system call, on a disk that fails, with files that rot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tenyson.errors import ModelError
from tenyson.jobs.checkpoints.publication import (
    LATEST,
    check,
    make_draft,
    newest_first,
    pin,
    publish,
    require_whole,
    sweep,
)

CALLS = "write,pwrite64,fsync,rename,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,ftruncate"
"""The system calls that change what is on the disk."""
MARK = "the-save-begins"
SAVE = f"""
import sys
from pathlib import Path
from tenyson.jobs.checkpoints.publication import make_draft, publish
parent, step, text = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
(parent / "{MARK}").mkdir()
draft = make_draft(parent / f"step-{{step}}")
(draft / "ref").mkdir()
for name in ("model.safetensors", "ref/adapter_model.safetensors", "trainer_state.json"):
    (draft / name).write_text(f"{{text}} {{name}}" * 300)
publish(draft, parent / f"step-{{step}}")
"""

IN_PLACE = SAVE.replace(
    'draft = make_draft(parent / f"step-{step}")', 'draft = parent / f"step-{step}"'
).replace('(draft / "ref").mkdir()', '(draft / "ref").mkdir(exist_ok=True)')
"""The bug that all this is against."""


def write_checkpoint(parent: Path, step: int, text: str = "first") -> Path:
    """Publish a checkpoint of three files."""
    final = parent / f"step-{step}"
    draft = make_draft(final)
    (draft / "ref").mkdir()
    for name in ("model.safetensors", "ref/adapter_model.safetensors", "trainer_state.json"):
        (draft / name).write_text(f"{text} {name}" * 300)
    publish(draft, final)
    return final


def traced(parent: Path, step: int, log: Path, *inject: str, save: str = SAVE) -> int:
    """Save a second checkpoint in another process, under strace; returns its exit status."""
    shutil.rmtree(parent / MARK, ignore_errors=True)
    command = ["strace", "-f", "-o", log, "-e", f"trace={CALLS}", *inject, sys.executable, "-c", save]
    done = subprocess.run(
        [*command, parent, str(step), "second"], capture_output=True, text=True, check=False
    )
    return done.returncode


def calls_of_a_save(parent: Path, step: int, log: Path) -> list[tuple[str, int]]:
    """Every changing system call of a save: its name, and how many of that name came up to it."""
    assert traced(parent, step, log) == 0
    counts: dict[str, int] = {}
    found, begun = [], False
    for line in log.read_text().splitlines():
        match = re.match(r"\d+\s+(\w+)\(", line)
        if match is None:
            continue
        name = match[1]
        counts[name] = counts.get(name, 0) + 1
        if begun:
            found.append((name, counts[name]))
        begun = begun or MARK in line
    return found


def newest_whole(parent: Path) -> str | None:
    """The text of the checkpoint that a resume would take."""
    for path in newest_first(parent):
        if check(path) is None:
            return (path / "model.safetensors").read_text().split()[0]
    return None


@pytest.fixture
def strace():
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 1], ids=["a new step", "the same step again"])
def test_a_kill_at_any_system_call_leaves_a_checkpoint_that_loads(tmp_path, strace, step):
    """SIGKILL at each one in turn: what is taken next is the first checkpoint or the second, and it is whole."""
    template = tmp_path / "template"
    write_checkpoint(template, 1)
    rehearsal = tmp_path / "rehearsal"
    shutil.copytree(template, rehearsal)
    calls = calls_of_a_save(rehearsal, step, tmp_path / "log")
    assert len(calls) > 15
    seen = set()
    for name, number in calls:
        parent = tmp_path / f"{name}-{number}"
        shutil.copytree(template, parent)
        status = traced(parent, step, tmp_path / "log", "-e", f"inject={name}:signal=SIGKILL:when={number}")
        assert status in (-9, 137), (name, number)
        text = newest_whole(parent)
        assert text in ("first", "second"), (name, number, sorted(path.name for path in parent.iterdir()))
        seen.add(text)
        sweep(parent)
        assert newest_whole(parent) == text
        shutil.rmtree(parent)
    assert seen == {"first", "second"}


@pytest.mark.slow
def test_this_harness_sees_a_save_that_writes_in_place(tmp_path, strace):
    """Otherwise the tests above would prove nothing: a kill in the middle of the writes leaves no checkpoint at all."""
    write_checkpoint(tmp_path / "parent", 1)
    calls = calls_of_a_save(tmp_path / "parent", 1, tmp_path / "log")
    writes = [number for name, number in calls if name == "write"]
    inject = f"inject=write:signal=SIGKILL:when={writes[1]}"
    assert traced(tmp_path / "parent", 1, tmp_path / "log", "-e", inject, save=IN_PLACE) in (-9, 137)
    assert newest_whole(tmp_path / "parent") is None


@pytest.mark.slow
@pytest.mark.parametrize(("call", "error"), [("fsync", "EIO"), ("write", "ENOSPC"), ("rename", "EIO")])
def test_a_disk_that_fails_publishes_nothing(tmp_path, strace, call, error):
    """Each call of its kind fails in turn; LATEST goes on naming what is whole."""
    template = tmp_path / "template"
    write_checkpoint(template, 1)
    rehearsal = tmp_path / "rehearsal"
    shutil.copytree(template, rehearsal)
    numbers = [number for name, number in calls_of_a_save(rehearsal, 2, tmp_path / "log") if name == call]
    assert numbers
    for number in numbers:
        parent = tmp_path / f"{call}-{number}"
        shutil.copytree(template, parent)
        status = traced(parent, 2, tmp_path / "log", "-e", f"inject={call}:error={error}:when={number}")
        assert status == 1, number
        latest = parent / (parent / LATEST).read_text().strip()
        assert check(latest) is None
        assert newest_whole(parent) in ("first", "second")


def test_the_folders_that_a_first_checkpoint_makes_are_forced_to_the_disk_too(tmp_path, monkeypatch):
    """Whole files are lost with the folder that they lie in."""
    forced = set()
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: (forced.add(Path(f"/proc/self/fd/{file}").readlink()), fsync(file))
    )
    checkpoints = tmp_path / "run/checkpoints"
    write_checkpoint(checkpoints, 1)
    assert {checkpoints, checkpoints.parent} <= forced


def test_a_truncated_file_is_named(tmp_path):
    final = write_checkpoint(tmp_path, 1)
    os.truncate(final / "model.safetensors", 100)
    assert (
        check(final) == f"model.safetensors has 100 bytes instead of {300 * len('first model.safetensors')}"
    )


def test_a_flipped_bit_is_named(tmp_path):
    final = write_checkpoint(tmp_path, 1)
    path = final / "ref" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    assert check(final) == "ref/adapter_model.safetensors has other content than was written"


def test_a_missing_file_is_named(tmp_path):
    final = write_checkpoint(tmp_path, 1)
    (final / "trainer_state.json").unlink()
    with pytest.raises(ModelError, match=r"trainer_state\.json is missing"):
        require_whole(final)


def test_a_folder_without_a_manifest_is_no_checkpoint(tmp_path):
    (tmp_path / "step-1").mkdir()
    assert check(tmp_path / "step-1") == "it has no manifest.json"


def test_the_one_that_latest_names_comes_first_then_those_before_it(tmp_path):
    """A higher step is of a former attempt, which went another way."""
    for step in (10, 20, 5):
        write_checkpoint(tmp_path, step)
    write_checkpoint(tmp_path, 10)
    assert [path.name for path in newest_first(tmp_path)] == ["step-10", "step-5", "step-20"]


def test_what_lineage_refers_to_is_noted_in_the_checkpoint_and_does_not_spoil_it(tmp_path):
    final = write_checkpoint(tmp_path, 1)
    pin(final, "rl-7")
    pin(final, "eval-1")
    assert (final / "used-by").read_text().split() == ["eval-1", "rl-7"]
    assert check(final) is None
