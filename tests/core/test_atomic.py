"""A file is replaced in one move: by several writers at once, and not at all where there is no room."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tenyson.core.files.atomic import write_json, write_text

WRITE = """
import sys
from pathlib import Path
from tenyson.core.files.atomic import write_json
for number in range(300):
    write_json(Path(sys.argv[1]), {"writer": sys.argv[2], "number": number})
"""


def test_two_processes_that_write_one_file_at_once_both_succeed(tmp_path):
    """As a suspended controller and the one that took its place do: each had the other's draft moved away from under it."""
    path = tmp_path / "result.json"
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, path, name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert json.loads(path.read_text())["number"] == 299
    assert [one.name for one in tmp_path.iterdir()] == ["result.json"]


def test_a_write_that_fails_leaves_the_file_as_it_was_and_no_draft(tmp_path):
    """Text that UTF-8 cannot hold fails in the middle."""
    path = tmp_path / "result.json"
    write_json(path, {"whole": True})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert json.loads(path.read_text()) == {"whole": True}
    assert [one.name for one in tmp_path.iterdir()] == ["result.json"]
