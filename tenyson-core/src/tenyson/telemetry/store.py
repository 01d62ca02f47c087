"""The earlier import path of `tenyson.telemetry.Store`."""

from tenyson.telemetry.read.store import RunRecord, Store

__all__ = ["RunRecord", "Store"]
