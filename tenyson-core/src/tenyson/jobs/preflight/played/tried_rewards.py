"""Rewards, tried once: each is asked about made-up rollouts. What costs money to ask is not asked: its `check` is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice

from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.scoring import Scored, score_all
from tenyson.errors import TaskError, TenysonError
from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.usercode import user_code

ADVICE = "A rollout may hold anything. Neither reward nor environment may raise; rewards are finite numbers, or None."
_SLOW = (
    "rollouts.reward_seconds, or `seconds` of the reward, is its limit; give what it waits for a shorter one."
)


def try_rewards(
    rewards: Sequence[Reward], rollouts: Mapping[str, Rollout], size: int, limits: Limits
) -> Iterator[Finding]:
    """Ask each reward about each rollout.

    Args:
        rollouts: by what they are, in words that follow "on", such as "an empty answer to train/0".
        size: rollouts that a reward of groups compares: those that there are, repeated.
    """
    said, unasked = [], []
    for reward in rewards:
        if reward.check is not None:
            finding = _checked(reward)
            if finding is None:
                unasked.append(reward.name)
            else:
                yield finding
        elif rollouts:
            try:
                scored = _asked(reward, rollouts, size, limits)
            except TenysonError as error:  # it ends the job, such as a budget that is spent
                yield Finding(
                    "rewards", "error", f"the reward {reward.name}: {error}", error.next_step or ADVICE
                )
                continue
            failed = next((one.rollout for one in scored if one.rollout.error), None)
            if failed is not None:
                yield _failed(failed)
            else:
                values = [one.components[reward.name] for one in scored[: len(rollouts)]]
                said.append(
                    f"{reward.name} {', '.join('None' if one is None else f'{one:.3g}' for one in values)}"
                )
    if said:
        yield Finding(
            "rewards", "info", f"each reward was asked about {' and '.join(rollouts)}: {'; '.join(said)}"
        )
    if unasked:
        cause = f"not asked, since that costs money or changes something: {', '.join(unasked)}; what they need is there"
        yield Finding("rewards", "info", cause)


def _asked(reward: Reward, rollouts: Mapping[str, Rollout], size: int, limits: Limits) -> list[Scored]:
    where = [f"on {words}" for words in rollouts]
    if reward.single:
        return score_all([reward], list(rollouts.values()), limits=limits, where=where)
    known = list(rollouts.values())
    whole = list(islice(cycle(known), max(size, len(known))))
    return score_all([reward], whole, ["one group"] * len(whole), limits)


def _checked(reward: Reward) -> Finding | None:
    what = f"the check of the reward {reward.name}"
    try:
        with user_code(what):
            assert reward.check is not None
            reward.check()
    except TenysonError as error:
        place = f"{error.place}: " if error.place else ""
        cause = (
            error.cause if isinstance(error, TaskError) else f"the reward {reward.name}: {place}{error.cause}"
        )
        return Finding("rewards", "error", cause, error.next_step or "Correct what the reward needs.")
    return None


def _failed(rollout: Rollout) -> Finding:
    error, tries = rollout.error, 1 + len(rollout.retried)
    assert error is not None
    again = f" (asked {tries} times)" if tries > 1 else ""
    return Finding(
        "rewards", "error", error.message + again, _SLOW if error.kind == "TimeoutError" else ADVICE
    )
