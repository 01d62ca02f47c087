"""The reward `regex`: a regular expression matches the reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenyson.errors import TaskError
from tenyson.rewards.helper.pool import EXCEEDED, Helper
from tenyson.rewards.reading.extraction import Extract, reply_of, whole
from tenyson.rewards.reading.patterns import compiled
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Sample
from tenyson.tasks.usercode import user_code


def regex(
    pattern: str | Callable[[Sample], str | None],
    *,
    full: bool = False,
    flags: int = 0,
    extract: Extract = whole,
    seconds: float = 1.0,
    name: str = "regex",
    weight: float = 1.0,
) -> Reward:
    """1 where the pattern matches the reply, else 0.

    Searches run in a helper process. One that computes for more than `seconds` counts as no match.

    Args:
        pattern: a regular expression of Python's `re`, or a function that returns that of a sample, or None.
        full: whether it must match all of the answer; otherwise it may match anywhere.
        flags: such as `re.IGNORECASE`.
        extract: what of the reply is searched; by default all of it.

    Raises:
        TaskError: the pattern cannot be compiled.
    """
    if isinstance(pattern, str):
        compiled(pattern, flags, f"the reward {name}")
    elif not callable(pattern):
        raise TaskError(f"the reward {name}: the pattern is {pattern!r:.60}, neither text nor a function")
    helper = Helper(name, seconds)

    def score(rollout: Rollout) -> float | None:
        expression: Any = pattern
        if not isinstance(pattern, str):
            with user_code(f"the pattern of the reward {name}", f" on sample {rollout.sample.id}"):
                expression = pattern(rollout.sample)
            if expression is None:
                return None
            compiled(expression, flags, f"the reward {name} on sample {rollout.sample.id}")
        found = extract(reply_of(rollout))
        if found is None:
            return 0.0
        matched = helper.call("matches", pattern=expression, flags=int(flags), text=found, full=full)
        return 0.0 if matched is EXCEEDED else float(matched)

    return Reward(name, score, weight)
