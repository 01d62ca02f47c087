"""The earlier import path of `tenyson.telemetry.Store`."""

from tenyson.telemetry.read.record import RunRecord
from tenyson.telemetry.read.store import Store

__all__ = ["RunRecord", "Store"]
