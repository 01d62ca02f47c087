"""An answer of a judge, and what a run has had so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What a judge said."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    usd: float | None = None


@dataclass(frozen=True)
class Spent:
    """What one run has had answered by one model."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def plus(self, answer: Answer) -> Spent:
        """With one answer more."""
        tokens = answer.prompt_tokens + answer.completion_tokens
        return Spent(self.calls + 1, self.tokens + tokens, self.usd + (answer.usd or 0.0))
