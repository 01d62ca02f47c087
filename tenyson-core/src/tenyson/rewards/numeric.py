"""The reward `number`: the reply's number is the right one."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

from tenyson.errors import TaskError
from tenyson.rewards.reading.extraction import Extract, boxed, reply_of, tag
from tenyson.rewards.reading.numbers import Quantity, last_quantity, quantities, quantity_of
from tenyson.rewards.reading.truth import Truth, answers_of, unusable
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout

_ANSWER = re.compile(r"####|\banswer\b[*_ \t]{0,9}(?:\bis\b|[:=])", re.IGNORECASE)
_MARKS = "*_: \t\n"


def number(
    *,
    truth: Truth = "answer",
    extract: Extract | None = None,
    relative: float | None = None,
    absolute: float = 0.0,
    name: str = "number",
    weight: float = 1.0,
) -> Reward:
    """1 where the reply's number equals the right one, else 0.

    Args:
        truth: where the right answer is; a number, text with one number, or text that ends in `#### number` or has
            it in `\\boxed{...}`. A list holds several acceptable ones.
        extract: where the reply's number is; of what it returns the last number counts. By default: in the last
            `\\boxed{...}`, else in the last `<answer>`, else after the last `####`, "answer is" or "answer:", else the
            last number of all.
        relative: how far apart the two may be, as a share of the right one. By default 1e-9, for what floats round, and 0
            where both are whole numbers.
        absolute: how far apart they may be in any case.

    Raises:
        TaskError: a tolerance is negative or no finite number.
    """
    for what, tolerance in (("relative", relative or 0.0), ("absolute", absolute)):
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise TaskError(f"the reward {name}: {what} is {tolerance}; it must be a finite number from 0")
    margin = None if relative is None else Fraction(relative), Fraction(absolute)

    def score(rollout: Rollout) -> float | None:
        answers = answers_of(rollout.sample, truth, name)
        if answers is None:
            return None
        right = [_right(rollout, answer, truth, name) for answer in answers]
        reply = reply_of(rollout)
        found = _answer(reply) if extract is None else last_quantity(extract(reply) or "")
        return float(found is not None and any(found.equals(one, *margin) for one in right))

    return Reward(name, score, weight)


def _right(rollout: Rollout, answer: Any, truth: Truth, name: str) -> Quantity:
    text = boxed(answer) if isinstance(answer, str) and "boxed" in answer else None
    quantity = quantity_of(answer if text is None else text)
    if quantity is None:
        raise unusable(rollout.sample, truth, name, answer, "is not one number")
    return quantity


def _answer(reply: str) -> Quantity | None:
    for extract in (boxed, tag("answer")):
        if (part := extract(reply)) is not None and (found := _of_equation(part, last=True)) is not None:
            return found
    end = None
    for match in _ANSWER.finditer(reply):
        end = match.end()
    if end is not None:
        line = reply[end:].lstrip(_MARKS).partition("\n")[0]
        if (found := _of_equation(line, last=False)) is not None:
            return found
    return last_quantity(reply)


def _of_equation(text: str, *, last: bool) -> Quantity | None:
    """The number behind the last equals sign that has one behind it, else the last or the first of all."""
    _, equals, right = text.rpartition("=")
    if equals and (found := next(quantities(right, most=1), None)) is not None:
        return found
    return last_quantity(text) if last else next(quantities(text, most=1), None)
