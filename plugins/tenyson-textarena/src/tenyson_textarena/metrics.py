"""Metrics: how games ended, over all of them and by seat."""

from __future__ import annotations

from collections.abc import Sequence

from tenyson.tasks import Metric, Rollout
from tenyson_textarena.outcome import outcome


def outcomes(rollouts: Sequence[Rollout], rewards: Sequence[float]) -> dict[str, Metric]:
    """`reward` is the mean; the others are shares of games: won, finished, ended by an invalid move.

    A two-player game is won with more reward than the opponent has, a single-player one with a reward of 1 or more.
    """
    found = {
        "reward": Metric.mean(list(rewards)),
        "won": _share([_won(rollout) for rollout in rollouts]),
        "finished": _share([outcome(rollout)["reward"] is not None for rollout in rollouts]),
        "invalid": _share([bool(outcome(rollout)["invalid"]) for rollout in rollouts]),
    }
    seats = sorted({rollout.sample.data["seat"] for rollout in rollouts})
    if len(seats) > 1:
        for seat in seats:
            won = [_won(rollout) for rollout in rollouts if rollout.sample.data["seat"] == seat]
            found[f"won/seat_{seat}"] = _share(won)
    return found


def _won(rollout: Rollout) -> bool:
    found = outcome(rollout)
    mine, other = found["reward"], found["opponent_reward"]
    if mine is None:
        return False
    return bool(mine >= 1 if other is None else mine > other)


def _share(flags: Sequence[bool]) -> Metric:
    return Metric.proportion(sum(flags), len(flags))
