"""The guard: sits beside a job on a rented machine. It keeps the lease and writes a heartbeat; a cloud's own adds its notices.

    python -m tenyson.cloud.remote.ssh.machine.guard <settings

It writes `heartbeat.json` into the job's folder and ends when the job has ended. The machine's end is not its business: the
watchdog sees to that even if the guard is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenyson.cloud.local.backend import LocalBackend
from tenyson.core.run_folder import SPOT_NOTICE

POLL_SECONDS = 5.0
NOTICED_SECONDS = 1.0
"""Between two polls of the job once the machine's end was announced."""
ALIVE = Path("/run/tenyson/alive")


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    """What the guard is told, as JSON on its standard input. A cloud's own adds fields."""

    run_id: str
    folder: str
    lease_seconds: float | None = None
    """The job is asked to save and end once no controller has polled it for so long."""
    grace_seconds: float = 120.0
    every_seconds: float = POLL_SECONDS


class Guard:
    """Polls every few seconds until the job has ended."""

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self.folder = Path(settings.folder)
        self._backend = LocalBackend(self.folder.parent)
        handle = self._backend.reattach(settings.run_id)
        if handle is None:
            raise SystemExit(f"there is no job in {self.folder}")
        self._handle = handle
        self._noticed = False
        self._left = False

    def run(self) -> None:
        """Until the job has ended and its files are safe. Where another guard is at work, nothing."""
        lock = os.open(self.folder / ".guard.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        self._begin()
        while self._backend.poll(self._handle).phase != "ended":
            if not self._noticed:
                self._take_notice()
            self._keep_lease()
            self._beat(ended=False)
            time.sleep(NOTICED_SECONDS if self._noticed else self.settings.every_seconds)
        self._beat(ended=True)
        self._finish()

    # What a cloud adds

    def _begin(self) -> None:
        """Before the first poll."""

    def _notice(self) -> str | None:
        """The provider's announcement that it takes the machine back; None while there is none. May raise anything."""
        return None

    def _finish(self) -> None:
        """After the job has ended: until its files are safe."""

    # The same everywhere

    def _take_notice(self) -> None:
        with self._told("the provider's notices"):
            notice = self._notice()
            if notice:
                self._noticed = True
                draft = self.folder / f"{SPOT_NOTICE}.tmp"
                draft.write_text(notice + "\n", encoding="utf-8")
                draft.replace(self.folder / SPOT_NOTICE)
                self._say(f"this machine is being preempted: {notice}")

    def _keep_lease(self) -> None:
        lease = self.settings.lease_seconds
        if lease is None or self._left:
            return
        # The watchdog touches `alive` as well while a job runs, so polls have a mark of their own.
        try:
            seen = (ALIVE.parent / "visited").stat().st_mtime
        except OSError:
            return
        if time.time() - seen > lease:
            self._left = True
            self._say(f"no controller has visited for {lease:.0f} s: the job saves and ends")
            self._backend.cancel(self._handle, self.settings.grace_seconds)

    def _beat(self, *, ended: bool) -> None:
        with contextlib.suppress(OSError):
            self._write("heartbeat.json", {"time": time.time(), "pid": os.getpid(), "ended": ended})

    def _write(self, name: str, data: Mapping[str, Any]) -> None:
        draft = self.folder / f"{name}.tmp"
        draft.write_text(json.dumps(data), encoding="utf-8")
        draft.replace(self.folder / name)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._say(f"{what}: {type(error).__name__}: {error}")

    def _say(self, text: str) -> None:
        print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, flush=True)  # noqa: T201


if __name__ == "__main__":
    Guard(GuardSettings(**json.load(sys.stdin))).run()
