"""What happens in a run, as typed events, and their forms as text."""

from tenyson.telemetry.events.events import (
    EVENT_VERSION,
    AttemptBegan,
    EpochEnded,
    Event,
    EventsLost,
    MetricsLogged,
    Notice,
    Phase,
    RolloutFinished,
    RunFinished,
    RunStarted,
)

__all__ = [
    "EVENT_VERSION",
    "AttemptBegan",
    "EpochEnded",
    "Event",
    "EventsLost",
    "MetricsLogged",
    "Notice",
    "Phase",
    "RolloutFinished",
    "RunFinished",
    "RunStarted",
]
