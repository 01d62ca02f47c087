"""Waiting for what another process, or a machine, is about to do."""

import time


def wait_for(what, seconds=180):
    """What it gives once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found
