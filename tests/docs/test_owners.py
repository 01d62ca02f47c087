"""What has one owner is written in one place."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tenyson import errors
from tenyson.core import run_folder

ROOT = Path(__file__).resolve().parents[2]
ALONE = ("tenyson/cloud/remote/poll.py",)
"""Run by another machine's Python, without tenyson."""
COMMON_WORDS = {"adapter", "model", "cancel", "terminated", "control"}
"""Names of files that are also words of configurations, states and requests."""


def sources() -> list[Path]:
    """All Python files that are shipped."""
    return sorted(
        path
        for folder in [*ROOT.glob("tenyson-*/src"), *ROOT.glob("plugins/*/src")]
        for path in folder.rglob("*.py")
    )


@pytest.mark.slow
def test_names_in_a_runs_folder_are_written_once():
    """`tenyson.core.run_folder` alone says how a file in a run's folder is called."""
    names = {
        value for name, value in vars(run_folder).items() if name.isupper() and name != "DEFAULT_OUTPUT_DIR"
    } - COMMON_WORDS
    assert "config.yaml" in names
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
        for path in sources()
        if not path.as_posix().endswith((*ALONE, "core/run_folder.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not found


def test_a_samples_prompt_becomes_tokens_in_one_place():
    """`Renderer.prompt_ids` alone, so that whatever else a sample shows the model reaches every caller."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if not path.as_posix().endswith("engines/renderers/renderer.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "prompt"
    ]
    assert not found


@pytest.mark.slow
def test_the_tree_of_errors_is_complete():
    """Every error that core derives from TenysonError is in the docstring of `tenyson.errors`."""
    bases = {
        node.name: [ast.unparse(base) for base in node.bases]
        for path in (ROOT / "tenyson-core/src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }

    def is_ours(name: str) -> bool:
        return name == "TenysonError" or any(is_ours(base) for base in bases.get(name, ()))

    ours = {name for name in bases if is_ours(name)}
    shown = set(re.findall(r"^[│ ]*[├└]── (\w+)", errors.__doc__ or "", re.MULTILINE)) | {"TenysonError"}
    assert len(ours) > 25
    assert ours == shown


def test_the_tree_of_errors_names_their_modules():
    """`tenyson.errors` holds those that need no other place; the tree says where each other one is."""
    elsewhere = [
        name
        for name, told in re.findall(r"── (\w+)(.*)", errors.__doc__ or "")
        if not hasattr(errors, name) and "`" not in told and "(the same)" not in told
    ]
    assert elsewhere == []
