"""Grace: how long a job that is asked to end may take to save, scaled to how long its steps take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

LEAST_SECONDS = 120.0
MOST_SECONDS = 3 * 3600.0
"""A scaled grace is never longer: a machine that says that a step takes a year is not believed."""
STEPS = 2.0
"""The step that is under way, with a margin."""
SAVING_SECONDS = 60.0
RECENT = 20


class StepClock:
    """Measures steps by the events of a job's log, on the clock here."""

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=RECENT)
        self._last: tuple[int, float] | None = None
        """Step and time of the last event that told of one, by the job's clock."""
        self._came: float | None = None
        """When that was, by the clock here."""

    def take(self, event: Mapping[str, Any], now: float | None = None) -> None:
        """One event, as it came."""
        if event["event"] in ("RunStarted", "MetricsLogged"):
            self._came = time.time() if now is None else now
        if event["event"] == "RunStarted":
            self._last = (0, _time(event, now))
        if event["event"] != "MetricsLogged" or not isinstance(event.get("step"), int):
            return
        step, when = event["step"], _time(event, now)
        if self._last is not None and step > self._last[0]:
            # What comes between two of them, such as an evaluation, may be under way too.
            self._intervals.append(max(0.0, when - self._last[1]) / (step - self._last[0]))
        self._last = (step, when)

    def grace(self, now: float | None = None) -> float:
        """Seconds for a job that is asked to end now."""
        waited = 0.0 if self._came is None else (time.time() if now is None else now) - self._came
        longest = max([*self._intervals, waited])
        return min(MOST_SECONDS, max(LEAST_SECONDS, STEPS * longest + SAVING_SECONDS))


def grace_of(watch: Any, given: float | None) -> float:
    """For the job of a watch: what was asked for, else what its steps need."""
    return given if given is not None else getattr(watch, "grace", LEAST_SECONDS)


def _time(event: Mapping[str, Any], now: float | None) -> float:
    """Of the event itself: several may arrive at once. Of a machine whose clock is wrong, the differences are right."""
    told = event.get("time")
    return float(told) if isinstance(told, (int, float)) else time.time() if now is None else now
