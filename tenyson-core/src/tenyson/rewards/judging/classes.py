"""Classification: the judge picks one of several labels, each of which has a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def label_question(
    rollout: Rollout, truth: Any, question: str, labels: Mapping[str, float], instructions: str
) -> list[Messages]:
    """Which label fits the reply."""
    parts = [
        f"The conversation so far:\n{conversation(rollout)}",
        f"The assistant's reply:\n{reply(rollout)}",
        reference(truth),
        f"{question}\nChoose one of these labels: {', '.join(labels)}.",
    ]
    return questions(parts, "Label: LABEL", instructions=instructions)


def read_label(labels: Mapping[str, float]) -> Callable[[str], float | None]:
    """The value of the label in an answer; None where it names none."""
    values = {plain(label): float(value) for label, value in labels.items()}

    def read(text: str) -> float | None:
        return values.get(plain(last_line(text, "label") or ""))

    return read
