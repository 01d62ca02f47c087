"""The console sink: plain lines for people, or marked lines for a controller, on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.core.stdio import say
from tenyson.plugins.job_kinds import recorded_kind
from tenyson.telemetry.events import (
    EpochEnded,
    Event,
    EventsLost,
    MetricsLogged,
    Notice,
    RunFinished,
    RunStarted,
    wire,
)
from tenyson.telemetry.sinks.sink import BaseSink

if TYPE_CHECKING:
    from tenyson.config.schema import Config

SHOWN = (
    "loss",
    "eval_loss",
    "reward",
    "eval_reward",
    "reward_std",
    "kl",
    "grad_norm",
    "learning_rate",
    "tokens_per_second",
)
"""The numbers shown first; a trainer logs dozens."""
MOST = 6
"""Numbers on one line."""


class ConsoleSink(BaseSink):
    """Prints what happens; with TENYSON_PROGRESS=json in the form that `wire.decode` reads."""

    name = "console"
    inline = True

    def __init__(self, config: Config, run_dir: Path) -> None:  # noqa: ARG002  the signature of all sinks
        self._encode = wire.encode if os.environ.get(wire.VARIABLE) == "json" else describe

    def write(self, event: Event) -> None:
        """Rollouts are not shown."""
        if isinstance(event, wire.SENT):
            say(self._encode(event), stream=sys.stdout)

    def close(self) -> None:
        """Nothing to let go of."""


def describe(event: Event) -> str:
    """One line for a person."""
    match event:
        case RunStarted():
            counts = event.total_steps and recorded_kind(event.job_type).trains
            steps = f", {event.total_steps} steps" if counts else ""
            return f"run {event.run_id}: {event.job_type} on task {event.task}{steps}, in {event.output_dir}"
        case MetricsLogged():
            of = f"/{event.total_steps}" if event.total_steps else ""
            return f"step {event.step}{of}  {numbers(event.values)}".rstrip()
        case EpochEnded():
            means = {
                name: value for name, value in (("loss", event.loss), ("kl", event.kl)) if value is not None
            }
            return f"epoch {event.epoch} ended at step {event.step}  {numbers(means)}".rstrip()
        case Notice():
            return event.message if event.level == "info" else f"{event.level}: {event.message}"
        case EventsLost():
            return f"telemetry sink {event.sink} did not record {event.events} events: {event.reason}"
        case RunFinished():
            seconds = event.result.get("total_time_seconds")
            after = f" after {seconds:.1f} s" if isinstance(seconds, (int, float)) else ""
            reason = event.result.get("failure_reason")
            text = f"run {event.run_id}: {event.status}{after}" + (f": {reason}" if reason else "")
            return f"{text}  {numbers(event.result.get('metrics') or {})}".rstrip()
    return type(event).__name__


def numbers(values: Mapping[str, float]) -> str:
    """The most telling numbers of one step, four digits each."""
    first = [name for name in SHOWN if name in values]
    rest = [name for name in values if name not in SHOWN]
    return "  ".join(f"{name} {values[name]:.4g}" for name in (first + rest)[:MOST])
