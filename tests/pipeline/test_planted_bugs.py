"""The harness itself is tried: each planted bug must be caught by the model test or by the suite of kills.

That both find nothing in the code as it is, is tested where they run: test_journal_model.py, tests/soak/test_soak_sample.py.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted((Path(__file__).parent / "planted").glob("*.patch"))
DETECTORS = {
    "model": ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(Path(__file__).with_name("test_journal_model.py"))],
    "kills": [str(ROOT / "tests/soak/kill_controller.py"), "--points", "40", "--random", "0", "--stalls", "0", "--first"],
}  # fmt: skip


def run(detector, source):
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "HYPOTHESIS_PROFILE": "planted",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *DETECTORS[detector]], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip


@pytest.mark.slow
def test_there_are_enough_of_them():
    """At least ten, and both detectors have some."""
    assert len(PATCHES) >= 10
    assert {re.search(r"Caught by: (\w+)", patch.read_text())[1] for patch in PATCHES} == set(DETECTORS)


@pytest.mark.slow
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_is_caught(patch, tmp_path):
    """The patch applies to the code of today, and the detector that it names fails with it."""
    source = tmp_path / "tenyson-core" / "src"
    shutil.copytree(ROOT / "tenyson-core/src", source)
    applied = subprocess.run(
        ["git", "apply", str(patch)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert applied.returncode == 0, f"{patch.name} no longer applies: make it anew\n{applied.stderr}"
    detector = re.search(r"Caught by: (\w+)", patch.read_text())[1]
    done = run(detector, source)
    assert done.returncode == 1, done.stdout + done.stderr
