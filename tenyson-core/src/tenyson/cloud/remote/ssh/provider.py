"""What a cloud tells of a machine that it rented out: where it is, whether it lives, its host keys, and how it is ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Life = Literal["coming", "running", "gone", "unknown"]


@dataclass(frozen=True)
class MachineStatus:
    """A machine as its provider sees it."""

    life: Life
    """`unknown`: the provider did not answer, or does not know the machine yet."""
    address: str | None = None
    code: str = ""
    """The provider's code for why it ended, such as Server.SpotInstanceTermination."""
    detail: str = ""
    preempted: bool = False
    """Whether the provider took it back."""


class Machine(Protocol):
    """One machine at its provider. Polling does not raise: unreachable is not dead."""

    @property
    def id(self) -> str:
        """What the provider calls it."""

    def poll(self) -> MachineStatus:
        """Ask the provider."""

    def host_keys(self) -> list[str]:
        """Its SSH host keys, by a way that nobody in between can change, such as its console; empty while there are none."""

    def terminate(self, say: Callable[[str], None]) -> None:
        """End it, and see that it is gone; called twice it does no harm.

        Raises: BackendError: the provider does not confirm it.
        """
