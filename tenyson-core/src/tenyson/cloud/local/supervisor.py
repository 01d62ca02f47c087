"""The supervisor: starts one job, hands signals on, and writes down how it ended, so that no controller need be alive.

    python -m tenyson.cloud.local.supervisor FOLDER LOCK_FD TOKEN -- COMMAND...

It leads a session of its own and keeps the job in a process group of its own. In FOLDER it writes
`process.json` (who runs) before it says "ready" on its standard output, and `exit_status.json` (how it ended)
when the job is gone. SIGTERM means: ask the job to save and end, and kill its group after the seconds that the
file `cancel` holds. A job that has written its result and does not end is ended after a while, and its result stands. Standard library only: it sits beside the job for as long as the job runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from tenyson.cloud.local.host import this_host
from tenyson.cloud.local.oom import oom_kills
from tenyson.cloud.local.process import start_mark
from tenyson.core.files.atomic import write_json
from tenyson.core.run_folder import CANCEL, EXIT_STATUS, LOG, PROCESS, TERMINATED
from tenyson.jobs.runtime.lingering import Lingering

MOST_WORDS = 300
DEFAULT_GRACE_SECONDS = 120.0
POLL_SECONDS = 1.0
"""Between two polls for the job's result."""


class Supervisor:
    """One job and the signals that it is to get."""

    def __init__(self, folder: Path, token: str, command: list[str]) -> None:
        self.folder = folder
        self.token = token
        self.command = command
        self.child: subprocess.Popen[bytes] | None = None
        self.asked_to_end = False
        self._told = False
        self._killed = False
        """Whether its process was ended from here."""
        self._by = ""
        """Who asked the job to end, or ended it, and why."""
        self._grace = DEFAULT_GRACE_SECONDS
        self._lingering = Lingering(folder)
        self._over = threading.Event()

    def run(self, lock: int) -> None:
        """Start the job, wait for it, write down how it ended."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGALRM, self._on_grace_over)
        # Handlers, not SIG_IGN: the job would inherit that.
        signal.signal(signal.SIGHUP, _do_nothing)
        signal.signal(signal.SIGINT, _do_nothing)
        kills_before = oom_kills()
        log_path = self.folder / LOG
        with log_path.open("ab") as log:
            log_start = log.tell()
            try:
                self.child = subprocess.Popen(
                    self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
                )
            except OSError as error:
                print(f"cannot start {self.command[0]}: {error.strerror}", flush=True)  # noqa: T201
                return
        write_json(
            self.folder / PROCESS,
            {
                "supervisor": {"pid": os.getpid(), "mark": start_mark(os.getpid())},
                "job": {"pid": self.child.pid, "mark": start_mark(self.child.pid)},
                "log_start": log_start,
                "token": self.token,
                "machine": this_host(),
                "folder": str(self.folder.resolve()),
                "started_at": time.time(),
            },
        )
        os.close(lock)
        # The controller may be gone already; the job keeps running.
        with contextlib.suppress(BrokenPipeError):
            print("ready", flush=True)  # noqa: T201
        if self.asked_to_end:
            self._ask_to_end()
        threading.Thread(target=self._watch_result, daemon=True).start()
        code = self.child.wait()
        self._over.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        stands = self._lingering.status() if self._killed else None
        self._kill_group()
        kills_after = oom_kills()
        counted = None if kills_before is None or kills_after is None else kills_after - kills_before
        write_json(
            self.folder / EXIT_STATUS,
            {
                "exit_code": code if stands is None else stands,
                "oom_kills": counted,
                "cancelled": self.asked_to_end,
                "by": self._who_ended(code),
                "ended_at": time.time(),
            },
        )

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        self.asked_to_end = True
        self._ask_to_end()

    def _ask_to_end(self) -> None:
        # The job hears it once: to a runner, a second SIGTERM may mean "now".
        if self.child is None or self.child.returncode is not None or self._told:
            return
        self._told = True
        try:
            grace = float((self.folder / CANCEL).read_text(encoding="ascii"))
        except (OSError, ValueError):
            grace = DEFAULT_GRACE_SECONDS
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.child.pid, signal.SIGTERM)
        self._grace = grace
        self._by = "its controller had asked it to save and end"
        signal.setitimer(signal.ITIMER_REAL, max(grace, 0.001))

    def _on_grace_over(self, _number: int, _frame: FrameType | None) -> None:
        self._killed = True
        self._by = (
            f"its supervisor did that, since it had not saved and ended {self._grace:.0f} s after its controller asked for it; "
            "--grace gives it longer"
        )
        self._say(f"the job has not ended {self._grace:.0f} s after it was asked to; its process is ended")
        self._kill_group()

    def _who_ended(self, code: int) -> str:
        """Of a job that a signal ended; empty where it ended by itself."""
        if code >= 0:
            return ""
        if self._by:
            return self._by
        with contextlib.suppress(OSError):
            return (self.folder / TERMINATED).read_text(encoding="utf-8")[:MOST_WORDS].strip()
        return "nobody of Tenyson did that: another process or the system"

    def _watch_result(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            if self._lingering.is_over():
                self._killed = True
                self._say(
                    "the job has written its result and does not exit (a thread, a child or an exit handler of its code?); "
                    "its process is ended, and the result stands"
                )
                self._kill_group()
                return

    def _say(self, text: str) -> None:
        """Into the job's log."""
        with contextlib.suppress(OSError, ValueError):
            os.write(2, f"tenyson: {text}\n".encode())

    def _kill_group(self) -> None:
        """End what is left of the job: after its own end, the helpers that it forgot."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def main(arguments: list[str]) -> int:
    """Entry point. `arguments`: folder, descriptor of the submit lock, the attempt's token or "-", "--", command."""
    folder, lock, token, dashes, *command = arguments
    if dashes != "--" or not command:
        raise SystemExit("usage: python -m tenyson.cloud.local.supervisor FOLDER LOCK_FD TOKEN -- COMMAND...")
    Supervisor(Path(folder), token, command).run(int(lock))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
