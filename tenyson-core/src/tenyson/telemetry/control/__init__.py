"""Control over a running job: what others ask of it, how it hears of it, and what its loop sees."""

from tenyson.telemetry.control.poller import ControlPoller
from tenyson.telemetry.control.requests import ControlRequest, ask, request_stop
from tenyson.telemetry.control.state import (
    INTERRUPTIONS,
    MANUAL_STOP,
    SPOT_NOTICE,
    VERBS,
    Asked,
    Controls,
    StopSignal,
)

__all__ = [
    "INTERRUPTIONS",
    "MANUAL_STOP",
    "SPOT_NOTICE",
    "VERBS",
    "Asked",
    "ControlPoller",
    "ControlRequest",
    "Controls",
    "StopSignal",
    "ask",
    "request_stop",
]
