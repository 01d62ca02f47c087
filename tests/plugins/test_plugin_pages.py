"""docs/reference/plugins: the plugin on each page keeps its contract, as the page's own test says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "reference" / "plugins").glob("*.md"))
QUICK = {"backends": ["-k", "runs_to_its_end or shipped or found or checking"]}
"""The whole contract of backends takes half a minute, and core's local backend is tried with it elsewhere."""


def files_of(page):
    """Each Python block, by the file that the text above it names last."""
    before, blocks, name = page.read_text(encoding="utf-8").split("```python\n"), {}, ""
    for position, part in enumerate(before):
        code, _, rest = part.partition("```\n") if position else ("", "", part)
        if name and code:
            blocks[name] = code
        name = (re.findall(r"`(\w+\.py)`", rest) or [""])[-1]
    return blocks


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_plugin_of_the_page_keeps_its_contract(page, tmp_path):
    """Copied as it stands, and run with pytest."""
    files = files_of(page)
    tests = [name for name in files if name.startswith("test_")]
    assert len(files) == 2, files.keys()
    assert len(tests) == 1
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *QUICK.get(page.stem, []),
        *tests,
    ]
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    told = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert int(re.search(r"(\d+) passed", told.stdout)[1]) >= 3


def test_every_hook_has_a_page_with_an_entry():
    """The entry of each hook is registered on its page."""
    texts = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for hook in ("tasks", "backends", "sinks", "engines", "jobs", "report_helpers"):
        assert f"def tenyson_{hook}():" in texts, hook
