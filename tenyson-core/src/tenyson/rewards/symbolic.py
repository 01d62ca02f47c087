"""The reward `math`: the reply equals the right answer as mathematics, by math-verify."""

from __future__ import annotations

import importlib.util

from tenyson.errors import MissingDependencyError
from tenyson.rewards.helper.pool import EXCEEDED, Helper
from tenyson.rewards.reading.extraction import Extract, boxed, reply_of
from tenyson.rewards.reading.truth import Truth, answers_of, unusable
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout

LONGEST = 10_000
"""Characters of a reply, from its end, in which an answer without a box is looked for."""
LONGEST_ANSWER = 1_000
"""Characters of an answer in a box. What is longer is no answer."""


def math(
    *,
    truth: Truth = "answer",
    extract: Extract | None = None,
    seconds: float = 5.0,
    name: str = "math",
    weight: float = 1.0,
) -> Reward:
    """1 where the reply's answer equals the right one as mathematics, else 0: 1/2 and \\frac12, x=5 and 5, {1,2} and {2,1}.

    math-verify runs in helper processes, so rewards may be called from any thread. An answer whose comparison computes for
    more than `seconds` (9**9**9) is worth 0.

    Args:
        truth: where the right answer is: a number, LaTeX with or without dollar signs, or a solution with `\\boxed{...}`. A
            list holds several acceptable ones.
        extract: where the answer is in the reply. By default: in the last `\\boxed{...}`, else where math-verify finds it
            ("answer is ...", the last formula, the last number).

    Raises:
        MissingDependencyError: math-verify is not installed.
        TaskError: `seconds` is no limit.
    """
    if importlib.util.find_spec("math_verify") is None:
        raise MissingDependencyError(
            "math-verify", needed_for=f"the reward {name}", install="tenyson-core[math]"
        )
    helper = Helper(name, seconds, imports="math_verify")

    def score(rollout: Rollout) -> float | None:
        answers = answers_of(rollout.sample, truth, name)
        if answers is None:
            return None
        golds = [_gold(rollout, answer, truth, name) for answer in answers]
        reply = reply_of(rollout)
        answer = boxed(reply) if extract is None else extract(reply)
        alone = answer is not None
        if extract is None and answer is None:
            answer = reply[-LONGEST:].strip()
        if not answer or (alone and len(answer) > LONGEST_ANSWER):
            return 0.0
        for gold in golds:
            found = helper.call("equal", gold=gold, reply=answer, boxed=alone)
            if found == "no gold":
                raise unusable(rollout.sample, truth, name, gold, "is no mathematics")
            if found == "equal":
                return 1.0
            if found is EXCEEDED and helper.call("equal", gold=gold, reply="0", boxed=True) is EXCEEDED:
                raise unusable(rollout.sample, truth, name, gold, f"takes more than {seconds:g} s to compute")
        return 0.0

    return Reward(name, score, weight)


def _gold(rollout: Rollout, answer: object, truth: Truth, name: str) -> str:
    if isinstance(answer, str) and answer.strip():
        return boxed(answer) or answer
    if isinstance(answer, int | float) and not isinstance(answer, bool) and abs(answer) < 1e300:
        return str(answer)
    raise unusable(rollout.sample, truth, name, answer, "is neither text nor a number")
