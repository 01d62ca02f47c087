"""A conversation as tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tokens:
    """P tokens that the model read, then C: what it wrote, and what was told to it in between."""

    prompt_ids: list[int]
    """P ids."""
    completion_ids: list[int]
    """C ids."""
    mask: list[int]
    """C flags: 1 where the model wrote the token."""
    logprobs: list[float] | None
    """C log-probabilities in nats, 0 where the model wrote nothing; None where the engine reports none."""

    @property
    def written(self) -> int:
        """Tokens that the model wrote."""
        return sum(self.mask)
