"""The reward `length`: the reply is neither too short nor too long."""

from __future__ import annotations

import math
from typing import Literal, get_args

from tenyson.errors import TaskError
from tenyson.rewards.reading.extraction import Extract, reply_of
from tenyson.rewards.reading.normalize import words
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout

Unit = Literal["tokens", "words", "characters", "lines"]


def length(
    *,
    at_least: float = 0,
    at_most: float | None = None,
    slack: float = 0,
    unit: Unit = "words",
    extract: Extract | None = None,
    name: str = "length",
    weight: float = 1.0,
) -> Reward:
    """1 where the length is between `at_least` and `at_most`; outside it falls to 0, in a straight line over `slack`.

    Args:
        slack: how far outside the value reaches 0. With 0 it is 0 at once. `at_most=3072, slack=1024` is DAPO's soft
            punishment of long replies, plus 1, which changes no advantage.
        unit: "tokens" are those that the model wrote in all turns, reasoning included; "words", "characters" and "lines" are
            those of the last reply without its reasoning.
        extract: what of the reply is measured; by default all of it. Where nothing is found the length is 0.

    Raises:
        TaskError: the limits contradict each other, or the unit is unknown; tokens cannot be extracted.
    """
    upper = math.inf if at_most is None else at_most
    if unit not in get_args(Unit):
        raise TaskError(
            f"the reward {name}: unit is {unit!r}", next_step=f"Take one of {', '.join(get_args(Unit))}."
        )
    if not (0 <= at_least <= upper and 0 <= slack < math.inf and (at_least or at_most is not None)):
        raise TaskError(
            f"the reward {name}: at_least={at_least}, at_most={at_most}, slack={slack} are no limits of a length",
            next_step="Give at_least or at_most or both, from 0, the lower one first, and a slack from 0.",
        )
    if unit == "tokens" and extract is not None:
        raise TaskError(
            f"the reward {name}: tokens are counted over the whole rollout, so there is nothing to extract",
            next_step='Take unit="words" or unit="characters".',
        )

    def score(rollout: Rollout) -> float:
        outside = max(at_least - (size := measure(rollout)), size - upper, 0)
        if not outside:
            return 1.0
        return max(0.0, 1 - outside / slack) if slack else 0.0

    def measure(rollout: Rollout) -> int:
        if unit == "tokens":
            return rollout.tokens
        text = reply_of(rollout).strip() if extract is None else (extract(reply_of(rollout)) or "")
        if unit == "words":
            return words(text)
        return len(text) if unit == "characters" else len(text.splitlines())

    return Reward(name, score, weight)
