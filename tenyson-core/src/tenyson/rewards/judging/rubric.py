"""A rubric: criteria with points, each asked apart; the value is the share of the points."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tenyson.rewards.judging.question import Messages, conversation, last_line, questions, reference, reply
from tenyson.tasks.rollout import Rollout


def points_question(
    rollout: Rollout, truth: Any, criterion: str, points: float, instructions: str
) -> list[Messages]:
    """How many of the points the reply deserves."""
    parts = [
        f"The conversation so far:\n{conversation(rollout)}",
        f"The assistant's reply:\n{reply(rollout)}",
        reference(truth),
        f"Criterion: {criterion}\nGive it from 0 points (not met at all) to {points:g} (met fully).",
    ]
    return questions(parts, "Points: NUMBER", instructions=instructions)


def read_points(most: float) -> Callable[[str], float | None]:
    """The points in an answer; None where there are none between 0 and `most`."""

    def read(text: str) -> float | None:
        line = last_line(text, "points")
        found = re.fullmatch(
            r"(\d{1,9}(?:[.,]\d{1,9})?)(?:\s*(?:/|of|out of)\s*\d{1,9})?(?:\s*points?)?", line or ""
        )
        if found is None:
            return None
        value = float(found[1].replace(",", "."))
        return value if value <= most else None

    return read
