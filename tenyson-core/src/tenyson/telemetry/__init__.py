"""What is recorded: events, their dispatch to sinks, and control over a running job."""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.telemetry.build import open_telemetry
    from tenyson.telemetry.dispatch import Telemetry
    from tenyson.telemetry.events import (
        AttemptBegan,
        EpochEnded,
        Event,
        EventsLost,
        MetricsLogged,
        Notice,
        RolloutFinished,
        RunFinished,
        RunStarted,
    )
    from tenyson.telemetry.read.record import RunRecord
    from tenyson.telemetry.read.store import Store
    from tenyson.telemetry.sinks.sink import BaseSink, Sink

__all__ = [
    "AttemptBegan",
    "BaseSink",
    "EpochEnded",
    "Event",
    "EventsLost",
    "MetricsLogged",
    "Notice",
    "RolloutFinished",
    "RunFinished",
    "RunRecord",
    "RunStarted",
    "Sink",
    "Store",
    "Telemetry",
    "open_telemetry",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "AttemptBegan": "tenyson.telemetry.events",
            "EpochEnded": "tenyson.telemetry.events",
            "Event": "tenyson.telemetry.events",
            "EventsLost": "tenyson.telemetry.events",
            "MetricsLogged": "tenyson.telemetry.events",
            "Notice": "tenyson.telemetry.events",
            "RolloutFinished": "tenyson.telemetry.events",
            "RunFinished": "tenyson.telemetry.events",
            "RunRecord": "tenyson.telemetry.read.record",
            "RunStarted": "tenyson.telemetry.events",
            "Sink": "tenyson.telemetry.sinks.sink",
            "BaseSink": "tenyson.telemetry.sinks.sink",
            "Store": "tenyson.telemetry.read.store",
            "Telemetry": "tenyson.telemetry.dispatch",
            "open_telemetry": "tenyson.telemetry.build",
        },
    )
