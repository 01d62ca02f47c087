"""Control over a running job: the stop signal, and the requests that other processes leave in `run_controls`."""

from __future__ import annotations


class StopSignal:
    """Whether this job shall end after the current step or batch, and why.

    One attribute and no lock, so that a signal handler may set it and a training loop may read it at each step.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        """"manual stop", "SIGTERM" or "SIGINT"; None while nobody asked."""

    @property
    def requested(self) -> bool:
        """Whether somebody asked for a stop."""
        return self.reason is not None

    def set(self, reason: str) -> None:
        """Ask for a stop. The first reason stands; later ones change nothing."""
        if self.reason is None:
            self.reason = reason
