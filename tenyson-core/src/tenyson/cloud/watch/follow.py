"""Following a job: what a controller shows of a log stream while the job runs.

Jobs print events as `@tenyson {json}` lines among whatever libraries print (`tenyson.telemetry.events.wire`). A
follower gets every line; the log file keeps every line as well, so a follower shows only what a person needs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from tenyson.core.duration import duration
from tenyson.core.stdio import say
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.plugins.job_kinds import recorded_kind
from tenyson.telemetry.events.wire import decode

_WORTH_SHOWING = re.compile(
    r"^(?:Traceback \(most recent call last\)|[\w.]*(?:Error|Exception)\b|(?i:error|fatal|warning)\s*:)|"
    r"\b(?:ERROR|CRITICAL|WARNING)\b|\b\w*Warning:"
)
_SHOWN_VALUES = ("loss", "eval_loss", "reward", "kl", "tokens_per_second")


class Follower(Protocol):
    """Watches one job after another."""

    def started(self, spec: JobSpec, log: str) -> None:
        """A job was started (or found running); `log` says where all of its output goes."""

    def line(self, text: str) -> None:
        """One line of the job's log, without escape sequences."""

    def say(self, text: str) -> None:
        """One line of the controller itself."""

    def ended(self, result: JobResult) -> None:
        """The job ended; nothing more comes of it."""


class SafeFollower:
    """Any follower, so that one that cannot print, or has a bug, costs the job nothing. Its first error is told."""

    def __init__(self, follower: Follower) -> None:
        self.inner = follower
        self._told = False

    def another(self) -> SafeFollower:
        """A follower for one more job at the same time; the same one where its class has no `another`."""
        make: Callable[[], Follower] | None = getattr(self.inner, "another", None)
        return self if make is None else SafeFollower(make())

    def started(self, spec: JobSpec, log: str) -> None:
        """As the follower inside; so are the others."""
        self._try(lambda: self.inner.started(spec, log))

    def line(self, text: str) -> None:
        """See `started`."""
        self._try(lambda: self.inner.line(text))

    def say(self, text: str) -> None:
        """See `started`."""
        self._try(lambda: self.inner.say(text))

    def ended(self, result: JobResult) -> None:
        """See `started`."""
        self._try(lambda: self.inner.ended(result))

    def _try(self, show: Callable[[], None]) -> None:
        try:
            show()
        except Exception as error:
            if not self._told:
                self._told = True
                say(f"warning: progress cannot be shown: {type(error).__name__}: {error}")


def safe_follower(follower: Follower) -> SafeFollower:
    """The follower itself, where it is safe already."""
    return follower if isinstance(follower, SafeFollower) else SafeFollower(follower)


class PlainFollower:
    """Plain lines, for files, pipes and notebooks: at most one line of numbers in `every_seconds`."""

    def __init__(self, stream: TextIO | None = None, every_seconds: float = 5.0) -> None:
        self.stream = stream
        self.every_seconds = every_seconds
        self._run_id = ""
        self._next_line = 0.0
        self._pending: Mapping[str, Any] | None = None
        self._values: dict[str, Any] = {}

    def another(self) -> PlainFollower:
        """A follower for one more job at the same time."""
        return PlainFollower(self.stream, self.every_seconds)

    def started(self, spec: JobSpec, log: str) -> None:
        """Say what runs and where its log is."""
        self._run_id, self._next_line, self._pending, self._values = spec.run_id, 0.0, None, {}
        self.say(f"{spec.job_type} started; {log_in_words(log, spec.run_id)}")

    def line(self, text: str) -> None:
        """Show an event, a warning or an error; drop the rest."""
        event = decode(text)
        if event is not None:
            self._event(event)
        elif worth_showing(text):
            self.say(text)

    def say(self, text: str) -> None:
        """Write one line on the stream (stderr by default)."""
        prefix = f"[{self._run_id}] " if self._run_id else ""
        say(f"{prefix}{text}", stream=self.stream)

    def ended(self, result: JobResult) -> None:
        """Show the last numbers and the outcome."""
        if self._pending is not None:
            self._numbers(self._pending)
        self.say(f"{result.status} after {duration(result.total_time_seconds)}")
        self._run_id = ""

    def _event(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"event": "RunStarted", "total_steps": int(total), "job_type": kind}:
                self.say(f"{total} {recorded_kind(str(kind)).unit}")
            case {"event": "Notice", "level": level, "message": message}:
                self.say(message if level == "info" else f"{level}: {message}")
            case {"event": "MetricsLogged"}:
                # Not every event has every value; the last known one stands.
                self._values |= event.get("values", {})
                if time.monotonic() >= self._next_line:
                    self._numbers(event)
                else:
                    self._pending = event
            case _:
                pass

    def _numbers(self, event: Mapping[str, Any]) -> None:
        self._pending = None
        self._next_line = time.monotonic() + self.every_seconds
        total = f"/{event['total_steps']}" if event.get("total_steps") else ""
        self.say(f"step {event.get('step', '?')}{total}  {values_in_words(self._values)}".rstrip())


def log_in_words(log: str, run_id: str) -> str:
    """Where the log is; a long name of the run, which stands before it, is not said twice in a line."""
    path = Path(log)
    if path.parent.name == run_id and len(run_id) + len(log) > 60:
        return f"full log: {path.name} in its folder in {path.parent.parent}"
    return f"full log: {log}"


def worth_showing(line: str) -> bool:
    """Whether an ordinary log line is a warning or an error."""
    return _WORTH_SHOWING.search(line) is not None


def values_in_words(values: Mapping[str, Any]) -> str:
    """The values that tell how a job is doing, such as "loss 0.412  reward 1.3"."""
    # NaN and infinities travel as strings, since JSON has none.
    return "  ".join(
        f"{name.replace('_', ' ')} {float(values[name]):.4g}" for name in _SHOWN_VALUES if name in values
    )
