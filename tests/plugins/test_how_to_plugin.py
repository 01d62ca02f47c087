"""docs/how-to/plugin.md: the plugin on that page is built and installed as it stands, and used by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "plugin.md"


@pytest.fixture(scope="module")
def installed(installed_page):
    """The page's files, built into a wheel and installed into a folder."""
    return installed_page(PAGE)


def tenyson(site, *arguments):
    return subprocess.run(
        [Path(sys.executable).parent / "tenyson", *arguments],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_plugin_of_the_page_is_listed_and_healthy(installed):
    """With its distribution and version."""
    row = next(line for line in tenyson(installed, "plugins").stdout.splitlines() if "parity" in line)
    assert row.split()[0] == "task"
    assert row.split()[-2:] == ["acme-parity", "1.0"]
    assert tenyson(installed, "plugins", "--check").returncode == 0


def test_its_task_is_used_by_name(installed):
    """Samples, rewards and metrics are there."""
    code = """
from tenyson.tasks import Rollout
from tenyson.tasks.load import load_task
task = load_task("parity")
sample = next(iter(task.eval_samples("eval", 0)))
rollout = Rollout(sample, sample.completion)
print(sample.id, task.metrics([rollout])["right"].value)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1000 1.0\n", done.stderr
