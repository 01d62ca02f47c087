"""The record of an attempt on a machine that is reached over SSH."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenyson.cloud.remote.record import Record


@dataclass
class SSHRecord(Record):
    """What another controller needs to reach the machine. A backend adds what names it."""

    host_keys: list[str] = field(default_factory=list)
    """As the provider showed them."""
    there: str = ""
    """The job's folder on the machine, of an attempt that was begun elsewhere; a path for commands there only."""
