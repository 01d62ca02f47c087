"""docs/specification.md: every promise names a test, and every test that is named exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "specification.md").read_text(encoding="utf-8")
ROWS = [
    line
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| promise", "| ---"))
]
SECTIONS = [
    "Basic usage",
    "Telemetry",
    "Eval and generations",
    "JobResult and reporting",
    "SFT early stopping",
    "Runner CLI",
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_every_promise_names_a_test_that_exists(row: str) -> None:
    """A renamed or deleted test is noticed here, before the page starts to lie."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
    assert named, f"names no test: {row}"
    for file, test in named:
        text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""
        assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), f"there is no {file}::{test}"


def test_every_section_of_the_specification_is_there() -> None:
    """A section that loses its table would make the check above empty."""
    for section in SECTIONS:
        body = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
        assert len([line for line in body.splitlines() if "`tests/" in line]) >= 4, section
