"""The state of control in a running job: plain attributes, which a loop reads at each step without a lock."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

MANUAL_STOP = "manual stop"
SPOT_NOTICE = "spot notice"
INTERRUPTIONS = ("SIGTERM", "SIGINT", SPOT_NOTICE)
"""Reasons after which a run is `stopped`: it is to be resumed. A manual stop is an end that somebody wanted."""

Verb = Literal["stop", "pause", "resume", "checkpoint", "extend"]
VERBS: tuple[Verb, ...] = ("stop", "pause", "resume", "checkpoint", "extend")


class StopSignal:
    """Whether this job shall end after the current step or batch, and why.

    One attribute and no lock, so that a signal handler may set it and a training loop may read it at each step.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        """"manual stop", "SIGTERM", "SIGINT" or "spot notice"; None while nobody asked."""
        self.begun = False
        """Whether the job has come to its first step or batch: from then on it looks at this, and there is something to save."""

    @property
    def requested(self) -> bool:
        """Whether somebody asked for a stop."""
        return self.reason is not None

    def set(self, reason: str) -> None:
        """Ask for a stop. The first reason stands; later ones change nothing."""
        if self.reason is None:
            self.reason = reason


@dataclass(frozen=True)
class Asked:
    """One request, as the job has seen it."""

    verb: str
    argument: int | None = None
    """Steps, for extend."""
    row: int | None = None
    """`run_controls.id`; None for a line of the control file."""
    key: str | None = None
    """Of a line of the control file: what makes it count once."""


@dataclass(frozen=True)
class Answer:
    """What became of a request."""

    asked: Asked
    status: Literal["applied", "rejected"]
    step: int | None = None
    reason: str | None = None
    time: float = field(default_factory=time.time)
    """When that was; it is written down at the poller's next look."""


class Controls:
    """What was asked of this job and is not done yet. The poller writes, the job's loop reads and answers."""

    def __init__(self, stop: StopSignal | None = None, *, verbs: Iterable[str] = VERBS) -> None:
        """`verbs`: those that this job can follow."""
        self.stop = stop or StopSignal()
        self.paused = False
        self.checkpoint = False
        """Whether a checkpoint is wanted at the next step boundary."""
        self.extend = 0
        """Steps to add."""
        self.answers: deque[Answer] = deque()
        """For the poller to write down."""
        self._verbs = frozenset(verbs)
        self._open: list[Asked] = []
        self._lock = threading.Lock()

    def accept(self, asked: Asked) -> str | None:
        """Take up a request. Returns why it cannot be followed; None where it can."""
        reason = self._why_not(asked)
        if reason is not None:
            self.answers.append(Answer(asked, "rejected", reason=reason))
            return reason
        with self._lock:
            # Before the flags: a loop that sees one of them answers at once.
            self._open.append(asked)
            match asked.verb:
                case "stop":
                    self.stop.set(MANUAL_STOP)
                case "pause":
                    self.paused = True
                case "resume":
                    self.paused = False
                case "checkpoint":
                    self.checkpoint = True
                case "extend":
                    self.extend += asked.argument or 0
        return None

    def applied(self, verb: Verb, step: int) -> None:
        """The loop has done what was asked, after `step` optimizer steps (or rollouts of an evaluation)."""
        with self._lock:
            done = [asked for asked in self._open if asked.verb == verb]
            self._open = [asked for asked in self._open if asked.verb != verb]
        self.answers.extend(Answer(asked, "applied", step=step) for asked in done)

    def extended(self, steps: int, step: int) -> None:
        """The loop has added `steps`; what was asked since then stays for the next boundary."""
        with self._lock:
            self.extend = max(0, self.extend - steps)
        self.applied("extend", step)

    def end(self) -> None:
        """Nothing more will be done: what is still open is rejected."""
        with self._lock:
            unmet, self._open = self._open, []
        self.answers.extend(
            Answer(asked, "rejected", reason="the run ended before it could") for asked in unmet
        )

    def _why_not(self, asked: Asked) -> str | None:
        if asked.verb not in VERBS:
            return f"there is no {asked.verb}; it is one of {', '.join(VERBS)}"
        if asked.verb not in self._verbs:
            return f"an evaluation cannot {asked.verb}"
        if asked.verb == "extend" and (asked.argument or 0) < 1:
            return "extend needs a number of steps, at least 1"
        if asked.verb == "resume" and not self.paused:
            return "the run is not paused"
        return None
