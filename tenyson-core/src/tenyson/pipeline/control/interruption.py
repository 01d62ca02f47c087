"""Interruption: what Ctrl-C does to a pipeline, the first time and the second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tenyson.cloud.manager import DETACH_SECONDS
from tenyson.cloud.watch.grace import grace_of
from tenyson.errors import TenysonError

if TYPE_CHECKING:
    from tenyson.cloud.watch.interrupts import Interrupts
    from tenyson.pipeline.control.launcher import Launcher, Watch
    from tenyson.pipeline.journal.lease import Lease


class Interruption:
    """Ends the jobs that run. Jobs on rented machines are left to themselves, unless Ctrl-C comes again."""

    def __init__(
        self, lease: Lease, launcher: Launcher, watches: Mapping[str, Watch], grace_seconds: float | None
    ) -> None:
        """`watches`: the jobs that run, by label, as the controller has them at any time."""
        self.begun = False
        self._lease = lease
        self._launcher = launcher
        self._watches = watches
        self._grace_seconds = grace_seconds
        self._answered = 0
        self._leave_at: float | None = None

    @property
    def leaves(self) -> bool:
        """Whether the jobs that run are left to themselves now."""
        return self._leave_at is not None and time.monotonic() > self._leave_at

    def is_new(self, interrupts: Interrupts) -> bool:
        """Whether Ctrl-C was pressed since it was last answered."""
        return interrupts.count > self._answered

    def answer(self, interrupts: Interrupts) -> None:
        """Do what Ctrl-C asks for, once for each time."""
        if not self.is_new(interrupts):
            return
        first, self._answered = not self._answered, interrupts.count
        if first:
            self.begun = True
            if self._watches and self._launcher.rented and interrupts.count == 1:
                self._leave_at = time.monotonic() + DETACH_SECONDS
                self._launcher.say(
                    f"interrupted: detaching in {DETACH_SECONDS:.0f} s; the jobs keep running. Reattach with: "
                    f"tenyson attach {self._lease.pipeline_id} (Ctrl-C again ends the jobs now and releases their machines)"
                )
                return
            if self._watches:
                longest = max(grace_of(watch, self._grace_seconds) for watch in self._watches.values())
                self._launcher.say(
                    f"interrupted: the job saves and ends, within {longest:.0f} s (Ctrl-C again ends it now)"
                )
            self.cancel_all()
        if interrupts.count > 1:
            self._leave_at = None
            self._launcher.say("interrupted again: the job is ended now, without saving")
            for watch in self._watches.values():
                self._quietly(lambda watch=watch: self._launcher.terminate(watch.handle))  # type: ignore[misc]

    def cancel_all(self) -> None:
        """Ask every job that runs to save and end."""
        for watch in self._watches.values():
            grace = grace_of(watch, self._grace_seconds)
            self._quietly(lambda watch=watch, grace=grace: self._launcher.cancel(watch.handle, grace))  # type: ignore[misc]

    def _quietly(self, call: Callable[[], None]) -> None:
        self._lease.check()
        try:
            call()
        except (TenysonError, OSError) as error:
            self._launcher.say(f"warning: {error}")
