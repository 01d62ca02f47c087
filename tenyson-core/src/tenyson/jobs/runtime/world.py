"""The world: the processes that run one job together, as torchrun starts them, and how they agree."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among those of its job."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_environment(cls) -> World:
        """As torchrun's variables RANK and WORLD_SIZE say; alone without them."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files, speaks and decides."""
        return self.rank == 0

    def agree(self, value: T) -> T:
        """What rank 0 says; the same on all ranks. A process alone agrees with itself."""
        if self.size == 1:
            return value
        import torch
        from accelerate import PartialState

        # The group that the trainer will use; it finds it initialised.
        PartialState(cpu=not torch.cuda.is_available())
        values: list[Any] = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        said: T = values[0]
        return said

    def in_turn(self, work: Callable[[], T]) -> T:
        """Run `work` on rank 0 first, then on the other ranks, which reuse its files."""
        if self.leads:
            made = work()
            self.agree(None)
            return made
        self.agree(None)
        return work()


def largest(numbers: list[int]) -> list[int]:
    """The largest over all ranks, number by number; the numbers themselves where a process is alone."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return numbers
    on_gpu = torch.distributed.get_backend() == "nccl"
    tensor = torch.tensor(numbers, device="cuda" if on_gpu else "cpu")
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
    agreed: list[int] = tensor.tolist()
    return agreed
