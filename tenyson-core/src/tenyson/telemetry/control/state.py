"""The state of control in a running job: plain attributes, which a loop reads at each step without a lock."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from tenyson.telemetry.control.verbs import TABLE, VERBS

MANUAL_STOP = "manual stop"
SPOT_NOTICE = "spot notice"
INTERRUPTIONS = ("SIGTERM", "SIGINT", SPOT_NOTICE)
"""Reasons after which a run is `stopped`: it is to be resumed. A manual stop is an end that somebody wanted."""


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

    def by_hand(self) -> None:
        """Ask for a stop as a person who wants the run to end here."""
        self.set(MANUAL_STOP)


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

    def __init__(
        self,
        stop: StopSignal | None = None,
        *,
        verbs: Iterable[str] | None = None,
        job: str = "this job",
    ) -> None:
        """`verbs`: those that this job can follow; all of them by default. `job`: what a refusal calls it."""
        self.stop: StopSignal = stop or StopSignal()
        self.paused: bool = False
        self.wanted: Counter[str] = Counter()
        """By verb, what is to be done at the next step boundary: the sum of the numbers asked for, 1 for each request without one."""
        self.answers: deque[Answer] = deque()
        """For the poller to write down."""
        self._verbs = frozenset(VERBS if verbs is None else verbs)
        self._job = job
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
            verb = TABLE[asked.verb]
            if verb.take is not None:
                verb.take(self)
            else:
                self.wanted[verb.name] += (asked.argument or 0) if verb.argument else 1
        return None

    def hold(self, paused: bool) -> None:
        """Have the loop wait at its next boundary, or continue."""
        self.paused = paused

    @property
    def checkpoint(self) -> bool:
        """Whether a checkpoint is wanted at the next step boundary."""
        return bool(self.wanted["checkpoint"])

    @property
    def extend(self) -> int:
        """Steps to add."""
        return self.wanted["extend"]

    def done(self, verb: str, step: int, amount: int | None = None) -> None:
        """The loop has done what was wanted, or `amount` of it; what was asked since then stays for the next boundary."""
        with self._lock:
            self.wanted[verb] = 0 if amount is None else max(0, self.wanted[verb] - amount)
        self.applied(verb, step)

    def applied(self, verb: str, step: int) -> None:
        """The loop has done what was asked, after `step` optimizer steps (or rollouts of an evaluation)."""
        with self._lock:
            done = [asked for asked in self._open if asked.verb == verb]
            self._open = [asked for asked in self._open if asked.verb != verb]
        self.answers.extend(Answer(asked, "applied", step=step) for asked in done)

    def extended(self, steps: int, step: int) -> None:
        """The loop has added `steps`."""
        self.done("extend", step, steps)

    def end(self) -> None:
        """Nothing more will be done: what is still open is rejected."""
        with self._lock:
            unmet, self._open = self._open, []
        self.answers.extend(
            Answer(asked, "rejected", reason="the run ended before it could") for asked in unmet
        )

    def _why_not(self, asked: Asked) -> str | None:
        verb = TABLE.get(asked.verb)
        if verb is None:
            return f"there is no {asked.verb}; it is one of {', '.join(VERBS)}"
        if verb.name not in self._verbs:
            return f"{self._job} cannot {verb.name}"
        if verb.argument and (asked.argument or 0) < 1:
            return f"{verb.name} needs a number of {verb.argument}, at least 1"
        return verb.refused(self)
