"""The process between a job and the server that it has started."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

FROZEN = "import os, signal; held = bytearray(400 << 20); os.kill(os.getpid(), signal.SIGSTOP)"


@pytest.mark.slow
def test_a_frozen_command_is_gone_once_its_guard_has_ended() -> None:
    """SIGTERM does not reach it, and a process with much memory takes a moment to die."""
    command = [sys.executable, "-P", "-m", "tenyson_openenv.guard", sys.executable, "-c", FROZEN]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as guard:
        child = _child(guard.pid)
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(20)
    assert not child.exists()


def _child(pid: int) -> Path:
    """The folder in /proc of the child of a process, once it is stopped."""
    for _ in range(200):
        for found in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            folder = Path("/proc") / found
            if (folder / "stat").read_text().rpartition(")")[2].split()[0] == "T":
                return folder
        time.sleep(0.05)
    raise AssertionError("the command does not stop")
