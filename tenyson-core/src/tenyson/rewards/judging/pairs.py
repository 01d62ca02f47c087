"""Comparison: which of two replies to one prompt is better. Each pair is asked twice, in both orders, since judges prefer a place."""

from __future__ import annotations

from typing import Any

from tenyson.rewards.judging.question import (
    Messages,
    conversation,
    last_line,
    plain,
    questions,
    reference,
    reply,
)
from tenyson.tasks.rollout import Rollout


def pair_question(
    first: Rollout, second: Rollout, truth: Any, question: str, instructions: str
) -> list[Messages]:
    """Whether the first reply is better than the second."""
    parts = [
        f"The conversation so far:\n{conversation(first)}",
        f"Reply A:\n{reply(first, 'reply-a')}",
        f"Reply B:\n{reply(second, 'reply-b')}",
        reference(truth),
        f"{question}\nAnswer A, B, or tie where neither is better.",
    ]
    return questions(parts, "Winner: A, B or tie", instructions=instructions)


def read_winner(text: str) -> float | None:
    """1 where the first reply wins, 0 where the second does, 0.5 for a tie; None where the answer names none of them."""
    return {"a": 1.0, "b": 0.0, "tie": 0.5}.get(plain(last_line(text, "winner") or ""))
