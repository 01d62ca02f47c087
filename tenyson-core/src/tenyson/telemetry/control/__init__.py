"""Control over a running job: what others ask of it, how it hears of it, and what its loop sees.

A verb is an entry of `verbs`, from which commands, help and checks are made.
"""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.telemetry.control.poller import ControlPoller
    from tenyson.telemetry.control.requests import ControlRequest, ask, request_stop
    from tenyson.telemetry.control.state import (
        INTERRUPTIONS,
        MANUAL_STOP,
        SPOT_NOTICE,
        Asked,
        Controls,
        StopSignal,
    )
    from tenyson.telemetry.control.verbs import VERBS

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

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Asked": "tenyson.telemetry.control.state",
            "ControlPoller": "tenyson.telemetry.control.poller",
            "ControlRequest": "tenyson.telemetry.control.requests",
            "Controls": "tenyson.telemetry.control.state",
            "INTERRUPTIONS": "tenyson.telemetry.control.state",
            "MANUAL_STOP": "tenyson.telemetry.control.state",
            "SPOT_NOTICE": "tenyson.telemetry.control.state",
            "StopSignal": "tenyson.telemetry.control.state",
            "VERBS": "tenyson.telemetry.control.verbs",
            "ask": "tenyson.telemetry.control.requests",
            "request_stop": "tenyson.telemetry.control.requests",
        },
    )
