"""Callbacks of transformers' Trainer: they record what it reports, and end, pause or extend it."""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.jobs.trainers.callbacks.control import ManualStopTelemetryCallback
    from tenyson.jobs.trainers.callbacks.target import TargetLossCallback, eval_loss_callbacks
    from tenyson.jobs.trainers.callbacks.telemetry import (
        AttemptTelemetryCallback,
        GRPOEpochTelemetryCallback,
        SFTTelemetryCallback,
    )

__all__ = [
    "AttemptTelemetryCallback",
    "GRPOEpochTelemetryCallback",
    "ManualStopTelemetryCallback",
    "SFTTelemetryCallback",
    "TargetLossCallback",
    "eval_loss_callbacks",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "AttemptTelemetryCallback": "tenyson.jobs.trainers.callbacks.telemetry",
            "GRPOEpochTelemetryCallback": "tenyson.jobs.trainers.callbacks.telemetry",
            "ManualStopTelemetryCallback": "tenyson.jobs.trainers.callbacks.control",
            "SFTTelemetryCallback": "tenyson.jobs.trainers.callbacks.telemetry",
            "TargetLossCallback": "tenyson.jobs.trainers.callbacks.target",
            "eval_loss_callbacks": "tenyson.jobs.trainers.callbacks.target",
        },
    )
