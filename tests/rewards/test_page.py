"""docs/reference/rewards.md: its examples run, and it names every reward with its arguments."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tenyson import rewards

PAGE = (Path(__file__).parents[2] / "docs/reference/rewards.md").read_text(encoding="utf-8")
EXTRACTIONS = {"after", "boxed", "fenced", "last_line", "matching", "tag", "whole"}


@pytest.mark.slow
@pytest.mark.may_skip("programs are isolated by Linux")
@pytest.mark.skipif(sys.platform != "linux", reason="programs are isolated by Linux")
def test_the_examples_of_the_page_run() -> None:
    """One after the other, as a reader would type them."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 13
    space: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/reference/rewards.md", "exec"), space)


def test_the_page_has_every_field_of_a_judges_model() -> None:
    section = PAGE.partition("`rewards.JudgeModel` says who is asked")[2].partition("\n## ")[0]
    for field in fields(rewards.JudgeModel):
        assert f"`{field.name}`" in section, field.name


def test_the_page_has_every_name_and_every_argument() -> None:
    """A section for each reward, a row for each way to find the answer."""
    for name in rewards.__all__:
        if name in EXTRACTIONS:
            assert f"| `rewards.{name}" in PAGE, name
            continue
        if name in ("JudgeModel", "Prices"):
            assert f"`rewards.{name}" in PAGE
            continue
        section = PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for argument in set(inspect.signature(getattr(rewards, name)).parameters) - {"name", "weight"}:
            assert re.search(rf"\b{argument}\b", section), f"{name}: {argument}"
        assert f"| `{name}` |" in PAGE
