"""Progress on a terminal: one bar a job, with loss, reward, throughput and time left, fed by the job's log lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

from tenyson.cloud.watch.follow import (
    Follower,
    PlainFollower,
    log_in_words,
    values_in_words,
    worth_showing,
)
from tenyson.core.duration import duration, round_duration
from tenyson.core.stdio import is_terminal, lossy_stderr
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.telemetry.events.wire import decode

WIDE = 110
"""Columns from which on the bar is a long one."""
TIMES_WIDTH = len("59 min so far, about 1 h 10 min left")
_STYLES = {"info": "dim", "warning": "yellow", "error": "red"}
_OUTCOMES = {"success": "green", "stopped": "yellow", "failed": "bold red"}


def choose_follower() -> Follower:
    """Bars on a terminal that can draw them, plain lines elsewhere. stdout is left to results."""
    drawn = is_terminal(sys.stderr) and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    return BarFollower() if drawn else PlainFollower()


class BarFollower:
    """A live bar for each job; notices, warnings and errors scroll by above, everything else is in the log file."""

    def __init__(self, console: Console | None = None, bars: Bars | None = None) -> None:
        self._bars = bars or Bars(console or Console(file=lossy_stderr(), highlight=False))
        self.console = self._bars.console
        self._bar: TaskID | None = None
        self._values: dict[str, Any] = {}

    def another(self) -> BarFollower:
        """A follower for one more job at the same time, whose bar is drawn below the others."""
        return BarFollower(bars=self._bars)

    def started(self, spec: JobSpec, log: str) -> None:
        """Open the bar; it spins until the number of steps is known."""
        self._values = {}
        self.console.print(Text(f"{spec.run_id}: {log_in_words(log, spec.run_id)}", style="dim"))
        self._bar = self._bars.open(f"{spec.job_type}, starting")

    def line(self, text: str) -> None:
        """Move the bar by an event; show a warning or an error of anybody else's."""
        event = decode(text)
        if event is not None:
            self._event(event)
        elif worth_showing(text):
            self.console.print(Text(text, style="dim"))

    def say(self, text: str) -> None:
        """One line of the controller above the bar."""
        self.console.print(Text(text, style="bold"))

    def ended(self, result: JobResult) -> None:
        """Close the bar and leave one line about the job."""
        if self._bar is not None:
            self._bars.close(self._bar)
            self._bar = None
        told = f"{result.run_id}: {result.status} after {duration(result.total_time_seconds)}"
        self.console.print(Text(told, style=_OUTCOMES[result.status]))

    def _event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "Notice":
            level = str(event.get("level", "info"))
            self.console.print(Text(str(event.get("message", "")), style=_STYLES.get(level, "")))
        elif self._bar is None:
            pass
        elif event["event"] == "RunStarted":
            total = event.get("total_steps")
            self._bars.progress.update(self._bar, description=str(event.get("job_type", "")), total=total)
        elif event["event"] == "MetricsLogged":
            # Not every event has every value; the last known one stands.
            self._values |= event.get("values", {})
            self._bars.progress.update(
                self._bar,
                description=str(event.get("phase", "")),
                completed=event.get("step", 0),
                total=event.get("total_steps") or self._bars.total(self._bar),
                values=self._bars.fitting(values_in_words(self._values), event),
            )


class TimesColumn(ProgressColumn):
    """Such as "23 s so far, about 13 min left"."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Nothing is left to say of a job whose number of steps is not known yet."""
        passed = task.finished_time if task.finished else task.elapsed
        told = f"{round_duration(passed or 0.0)} so far"
        if not task.finished and task.time_remaining is not None:
            told += f", about {round_duration(task.time_remaining)} left"
        return Text(told, style="dim", no_wrap=True)


class Bars:
    """The bars of all jobs that run now: a terminal has one live display at a time."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = self._make()

    def open(self, description: str) -> TaskID:
        """One more bar; the first one starts the display."""
        if not self.progress.task_ids:
            self.progress = self._make()
            self.progress.start()
        return self.progress.add_task(description, total=None, values="")

    def close(self, bar: TaskID) -> None:
        """Take a bar away; the last one ends the display, and stays to be read."""
        if self.progress.task_ids == [bar]:
            self.progress.stop()
        self.progress.remove_task(bar)

    def total(self, bar: TaskID) -> float | None:
        """Steps of a bar, where they are known."""
        return next(task.total for task in self.progress.tasks if task.id == bar)

    def fitting(self, values: str, event: Mapping[str, Any]) -> str:
        """As many of the values as there is room for, whole ones: the times beside them are not cut."""
        steps = 2 * len(str(event.get("total_steps") or event.get("step") or 0)) + 1
        room = (
            self.console.width
            - len(str(event.get("phase", "")))
            - self._bar_width()
            - steps
            - TIMES_WIDTH
            - 6
        )
        kept = ""
        for value in values.split("  "):
            longer = f"{kept}  {value}" if kept else value
            if len(longer) > room:
                break
            kept = longer
        return kept

    def _bar_width(self) -> int:
        return 24 if self.console.width >= WIDE else 10

    def _make(self) -> Progress:
        return Progress(
            # Braille only where it can be shown.
            SpinnerColumn("dots" if self.console.encoding.startswith("utf") else "line"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=self._bar_width()),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}", markup=False),
            TimesColumn(),
            console=self.console,
            refresh_per_second=4,
        )
