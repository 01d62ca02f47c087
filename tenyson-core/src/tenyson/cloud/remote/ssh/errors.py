"""What can go wrong between here and a machine."""

from __future__ import annotations

from tenyson.cloud.backend import Reason
from tenyson.cloud.remote.ssh.provider import MachineStatus
from tenyson.errors import BackendError, TenysonError


class UnreachableError(BackendError):
    """The machine cannot be reached now. That says nothing about the job on it."""


class HostKeyError(BackendError):
    """Whoever answers is not the machine that was rented: nothing was sent to it."""


class CommandError(BackendError):
    """A command on the machine failed."""


class PrivateKeyError(BackendError):
    """The private key is missing, or cannot be used."""

    reason: Reason = "user_error"
    exit_status = TenysonError.exit_status


class GoneError(BackendError):
    """The machine is no more."""

    def __init__(self, status: MachineStatus) -> None:
        super().__init__(status.detail or "the machine is gone")
        self.status = status
