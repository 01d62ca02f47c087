"""The record of an attempt on an EC2 instance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tenyson.cloud.remote.ssh.record import SSHRecord


@dataclass
class MachineRecord(SSHRecord):
    """The request to AWS and its answer."""

    region: str = ""
    avoid: list[list[str]] = field(default_factory=list)
    """Type and zone of machines that earlier attempts lost."""
    turn: int = 0
    """Number of the launch request that comes next, or is under way."""
    request: dict[str, Any] | None = None
    """A launch that was begun: sent again, it gives the same machine."""
    refusals: list[str] = field(default_factory=list)
    """What AWS answered to requests that gave no machine."""
    instance_id: str | None = None
    instance_type: str | None = None
    zone: str | None = None
    market: str | None = None

    @property
    def machine(self) -> str | None:
        """The instance's id."""
        return self.instance_id

    @property
    def begun(self) -> bool:
        """Whether AWS was asked for an instance."""
        return self.instance_id is not None or self.request is not None
