"""Control over a running job: what others ask of it, how it hears of it, and what its loop sees."""

from tenyson.telemetry.control.poller import ControlPoller
from tenyson.telemetry.control.requests import ControlRequest, ask, request_stop
from tenyson.telemetry.control.state import MANUAL_STOP, VERBS, Asked, Controls, StopSignal

__all__ = [
    "MANUAL_STOP",
    "VERBS",
    "Asked",
    "ControlPoller",
    "ControlRequest",
    "Controls",
    "StopSignal",
    "ask",
    "request_stop",
]
