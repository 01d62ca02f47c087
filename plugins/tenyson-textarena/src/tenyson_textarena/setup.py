"""Setup: everything that decides how a game begins, and what its opponent does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setup:
    """How one game is dealt. The same setup and the same replies are the same game, in any process."""

    game: str
    """textarena's name of it."""
    args: Mapping[str, Any]
    """Arguments of its class."""
    seed: int
    seat: int
    """The model's: 0 or 1; 0 in a single-player game."""
    opponent: str
    """`random`, `scripted` or `self`."""
    moves: tuple[str, ...]
    """Moves that the opponent tries; empty: those that are known."""
    seconds: float
    """Limit of each request."""
