"""Guard: runs a command and ends it, with all that it started, when its own standard input closes.

`python -m tenyson_openenv.guard COMMAND...`; the job holds the other end of the pipe, which closes even if the job is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


def main() -> None:
    """Run the command until it or the pipe ends. The exit code is the command's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the job, which closes the pipe
    try:
        child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror}")
    signal.signal(signal.SIGTERM, lambda *_: _end(child))
    threading.Thread(target=_follow, args=(child,), daemon=True).start()
    sys.stdin.buffer.read()
    _end(child)


def _follow(child: subprocess.Popen[bytes]) -> None:
    code = child.wait()
    _signal(child, signal.SIGKILL)
    os._exit(code if code >= 0 else 128 - code)


def _end(child: subprocess.Popen[bytes]) -> None:
    _signal(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)
    _signal(child, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)  # whoever waits for this process finds the command gone
    os._exit(0)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the command and whatever it started in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    main()
