"""Usage: tokens as an endpoint counts them, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer. None where the endpoint does not say."""

    prompt: int | None = None
    """Read by the model."""
    completion: int | None = None
    """Written by it, reasoning included."""
    cached: int = 0
    """Of `prompt`, those that the endpoint had cached."""

    @classmethod
    def read(cls, found: Any) -> Usage:
        """From the `usage` of a chat completion, whatever it holds."""
        if not isinstance(found, dict):
            return cls()
        details = found.get("prompt_tokens_details")
        cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
        return cls(_count(found.get("prompt_tokens")), _count(found.get("completion_tokens")), cached or 0)


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens."""

    prompt: float
    completion: float
    cached: float | None = None
    """Of prompt tokens that the endpoint had cached; None: as others."""

    def cost(self, usage: Usage) -> float | None:
        """US dollars; None where the endpoint did not count."""
        if usage.prompt is None or usage.completion is None:
            return None
        cached = min(usage.cached, usage.prompt)
        price = self.prompt if self.cached is None else self.cached
        million = (usage.prompt - cached) * self.prompt + cached * price + usage.completion * self.completion
        return million / 1e6


@dataclass
class Totals:
    """What a client has asked for and got so far."""

    requests: int = 0
    """Sent, those that were repeated included."""
    answers: int = 0
    retries: int = 0
    rate_limited: int = 0
    """Answered by 429."""
    uncounted: int = 0
    """Answers for which the endpoint reported no tokens."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """US dollars; None where prices or token counts are unknown."""

    def add(self, usage: Usage, cost: float | None) -> None:
        """Count an answer."""
        self.answers += 1
        self.uncounted += usage.prompt is None or usage.completion is None
        self.prompt_tokens += usage.prompt or 0
        self.cached_tokens += usage.cached
        self.completion_tokens += usage.completion or 0
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
