"""A verdict: one answer of a judge about a rollout, as it is recorded beside the reward that was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Verdict:
    """One answer of a judge."""

    criterion: str
    """What was judged, in the words of the question."""
    text: str
    """The whole answer."""
    value: float | None
    """What was read from it, such as points; None where nothing could be."""
    model: str
    """The judge."""
    prompt_tokens: int
    """As the endpoint counts them."""
    completion_tokens: int
    """The same of the answer."""
    usd: float | None
    """Price of the answer when it was given; None where no prices are known."""
    reused: bool
    """Whether it was known already, so that nobody was asked."""
    key: str
    """SHA-256 of endpoint, model, messages and sampling settings."""
    reward: str = ""
    """Name of the reward, once rollouts are scored."""
    opponent: int | None = None
    """In a comparison the other rollout's place in the group, from 0."""


class Judged(float):
    """The value of a reward, with the verdicts that it was made of."""

    verdicts: tuple[Verdict, ...]

    def __new__(cls, value: float, verdicts: Sequence[Verdict]) -> Self:
        judged = super().__new__(cls, value)
        judged.verdicts = tuple(verdicts)
        return judged
