"""A job's process runs its exit handlers and joins its threads, and then ends at once with its own status."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, gc, sys, threading, time
{before}
from tenyson.jobs.runtime.interpreter import collect_as_usual, collect_rarely, end_after_handlers

usual = gc.get_threshold()
end_after_handlers(lambda: {status})
collect_rarely()
collect_rarely()
assert gc.get_threshold()[0] > usual[0]
collect_as_usual()
assert gc.get_threshold() == usual and gc.get_freeze_count() > 0

class Kept:
    def __del__(self):
        print("freed")

kept = Kept()
atexit.register(print, "handler")
threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
"""


@pytest.mark.parametrize(
    ("before", "status", "code", "printed"),
    [
        ("", "7", 7, ["thread", "handler"]),
        ("", "None", 0, ["thread", "handler", "freed"]),
        ("atexit.register(print, 'coverage')", "7", 0, ["thread", "handler", "coverage", "freed"]),
    ],
    ids=["at once", "its end is not known", "a tool waits for the end"],
)
def test_threads_and_exit_handlers_come_before_the_end_of_a_process(before, status, code, printed):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before, status=status)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.split() == printed
