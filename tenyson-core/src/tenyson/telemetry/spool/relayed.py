"""Relayed: a job on a rented machine sees no database. Its spool and its control file are carried by whoever rented it."""

from __future__ import annotations

import os

VARIABLE = "TENYSON_TELEMETRY_RELAY"


def is_relayed() -> bool:
    """Whether this process records for a controller that fetches its spool (`tenyson.telemetry.relay.relay`)."""
    return bool(os.environ.get(VARIABLE))
