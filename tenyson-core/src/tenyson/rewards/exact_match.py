"""The reward `exact`: the reply says just what the sample has as its answer."""

from __future__ import annotations

from typing import Any

from tenyson.rewards.reading.extraction import Extract, reply_of, whole
from tenyson.rewards.reading.normalize import normalize
from tenyson.rewards.reading.truth import Truth, answers_of, unusable
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout


def exact(
    *,
    truth: Truth = "answer",
    extract: Extract = whole,
    ignore_case: bool = True,
    ignore_punctuation: bool = False,
    name: str = "exact",
    weight: float = 1.0,
) -> Reward:
    """1 where the reply equals the right answer once both are normalised, else 0.

    Unicode forms (NFKC), blanks, quotes, dashes, Markdown around the text and one full stop at its end make no difference.

    Args:
        truth: where the right answer is: text, a number or a truth value. A list holds several acceptable ones.
        extract: where the answer is in the reply; by default all of it.
        ignore_case: whether upper and lower case are alike.
        ignore_punctuation: whether punctuation counts as blanks. Symbols (+, $, %) and minus signs stay.
    """

    def same(text: str) -> str:
        return normalize(text, ignore_case=ignore_case, ignore_punctuation=ignore_punctuation)

    def score(rollout: Rollout) -> float | None:
        answers = answers_of(rollout.sample, truth, name)
        if answers is None:
            return None
        right = {same(_text(rollout, answer, truth, name)) for answer in answers}
        found = extract(reply_of(rollout))
        return float(found is not None and same(found) in right)

    return Reward(name, score, weight)


def _text(rollout: Rollout, answer: Any, truth: Truth, name: str) -> str:
    if isinstance(answer, str | bool | int | float):
        try:
            return str(answer)
        except ValueError:  # an integer of more than 4,300 digits
            pass
    raise unusable(rollout.sample, truth, name, answer, "is neither text, a number nor a truth value")
