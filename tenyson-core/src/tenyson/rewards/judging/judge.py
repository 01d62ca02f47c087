"""The reward `judge`: a language model says what a reply is worth."""

from __future__ import annotations

import asyncio
import importlib.util
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenyson.errors import MissingDependencyError, TaskError
from tenyson.rewards.judging.asking import Asker
from tenyson.rewards.judging.classes import label_question, read_label
from tenyson.rewards.judging.errors import JudgeError
from tenyson.rewards.judging.model import JudgeModel
from tenyson.rewards.judging.pairs import pair_question, read_winner
from tenyson.rewards.judging.question import plain
from tenyson.rewards.judging.rubric import points_question, read_points
from tenyson.rewards.reading.extraction import reply_of
from tenyson.rewards.reading.truth import Truth, truth_of
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.verdict import Judged, Verdict

QUESTION_TIMES = 2
"""How often a question is put at most: again where its answer cannot be read."""


@dataclass(frozen=True, kw_only=True)
class JudgedReward(Reward):
    """A reward for which a model is asked."""

    model: JudgeModel
    questions: int
    """Calls for a rollout at most; with `group`, for a rollout and another one of its group."""


def judge(
    model: JudgeModel,
    *,
    rubric: Mapping[str, float] | None = None,
    labels: Mapping[str, float] | None = None,
    pairwise: bool = False,
    question: str | None = None,
    instructions: str = "",
    truth: Truth | None = None,
    name: str = "judge",
    weight: float = 1.0,
    seconds: float | None = None,
) -> Reward:
    """What a model says of the last reply, in one of three ways. It needs `tenyson-core[openai]`.

    Every answer is kept in `TENYSON_CACHE` before it is used, by endpoint, model, question and settings: nobody is asked twice, and a
    resumed run has the rewards that it had. Answers are recorded in SQL, in `verdicts`.

    Args:
        rubric: criteria with their points. Each is asked apart; the value is the share of the points that the reply is given.
        labels: what the reply may be called, with the value of each; `question` says what to look at.
        pairwise: compare the replies to one prompt with each other, each pair in both orders; the value is the share of
            comparisons that a reply wins, where ties count half. `question` says what is better. It asks n x (n - 1) times for n
            rollouts, and says nothing of a rollout that is alone.
        instructions: what the judge should know besides, such as the purpose of the task.
        truth: where a right answer is that the judge is shown: a key of `sample.data`, or a function of the sample.
        seconds: limit of one rollout, or of one group where replies are compared; None for `rollouts.reward_seconds`.

    Raises:
        TaskError: it is asked in no way, in several, or in one that cannot work.
        MissingDependencyError: the openai package is not installed.
    """
    if importlib.util.find_spec("openai") is None:
        raise MissingDependencyError(
            "openai", needed_for=f"the reward {name}", install="tenyson-core[openai]"
        )
    _check(name, rubric, labels, pairwise, question)
    asker = Asker(model)

    def right(rollout: Rollout) -> Any:
        return None if truth is None else truth_of(rollout.sample, truth, name)

    async def by_rubric(rollout: Rollout) -> Judged:
        points = dict(rubric or {})
        asked = [
            asker.ask(
                criterion,
                points_question(rollout, right(rollout), criterion, most, instructions),
                read_points(most),
            )
            for criterion, most in points.items()
        ]
        verdicts = await _all(asked)
        given = sum(_value(one) for one in verdicts)
        return Judged(given / sum(points.values()), [verdict for one in verdicts for verdict in one])

    async def by_label(rollout: Rollout) -> Judged:
        known, what = dict(labels or {}), str(question)
        asked = label_question(rollout, right(rollout), what, known, instructions)
        verdicts = await asker.ask(what, asked, read_label(known))
        return Judged(_value(verdicts), verdicts)

    async def by_pairs(rollouts: Sequence[Rollout]) -> list[Judged | None]:
        what = question or "Which reply is better?"

        async def compared(first: int, second: int) -> list[Verdict]:
            one, other = rollouts[first], rollouts[second]
            if reply_of(one).strip() == reply_of(other).strip():
                return []
            asked = pair_question(one, other, right(one), what, instructions)
            return await asker.ask(what, asked, read_winner)

        places = range(len(rollouts))
        pairs = [(first, second) for first in places for second in places if first != second]
        found = dict(zip(pairs, await _all([compared(*pair) for pair in pairs]), strict=True))
        return [_standing(place, found, places) for place in places]

    function: Callable[..., Any] = by_pairs if pairwise else by_rubric if rubric else by_label
    questions = QUESTION_TIMES * len(rubric or [name])
    return JudgedReward(
        name,
        function,
        weight,
        group=pairwise,
        seconds=seconds,
        check=asker.check,
        model=model,
        questions=questions,
    )


def _standing(
    place: int, found: Mapping[tuple[int, int], Sequence[Verdict]], places: Sequence[int]
) -> Judged | None:
    """The share of its comparisons that a reply wins, with the verdicts where it was shown first."""
    others = [other for other in places if other != place]
    if not others:
        return None
    won = [_won(found[place, other]) for other in others] + [
        1 - _won(found[other, place]) for other in others
    ]
    verdicts = [replace(verdict, opponent=other) for other in others for verdict in found[place, other]]
    return Judged(sum(won) / len(won), verdicts)


def _won(verdicts: Sequence[Verdict]) -> float:
    return _value(verdicts) if verdicts else 0.5  # equal replies, which nobody was asked about


def _value(verdicts: Sequence[Verdict]) -> float:
    value = verdicts[-1].value
    assert value is not None
    return value


async def _all(asked: Sequence[Awaitable[list[Verdict]]]) -> list[list[Verdict]]:
    """What all of them come to, side by side. Raises: JudgeError: one of those that failed, with the verdicts of all."""
    found = await asyncio.gather(*asked, return_exceptions=True)
    failed = [one for one in found if isinstance(one, BaseException)]
    if failed:
        first = next((one for one in failed if getattr(one, "ends_job", False)), failed[0])
        if isinstance(first, JudgeError):
            known = [one for one in found if not isinstance(one, BaseException)]
            first.verdicts = (*(verdict for one in known for verdict in one), *first.verdicts)
        raise first
    return [one for one in found if not isinstance(one, BaseException)]


def _check(
    name: str,
    rubric: Mapping[str, float] | None,
    labels: Mapping[str, float] | None,
    pairwise: bool,
    question: str | None,
) -> None:
    """Raises: TaskError."""
    ways = [way for way, given in (("rubric", rubric), ("labels", labels), ("pairwise", pairwise)) if given]
    if len(ways) != 1:
        raise TaskError(
            f"the reward {name} is judged by {' and '.join(ways) or 'nothing'}; it must be one of rubric, labels and pairwise",
            next_step='Write rubric={"It is polite.": 1}, labels={"right": 1, "wrong": 0} or pairwise=True.',
        )
    if labels and not question:
        raise TaskError(
            f"the reward {name}: labels need a question", next_step='Write question="Is the reply right?".'
        )
    if rubric and question:
        raise TaskError(
            f"the reward {name}: a rubric has no question",
            next_step="Put it into `instructions`, or into the criteria.",
        )
    for criterion, points in (rubric or {}).items():
        if not criterion.strip() or not 0 < points < math.inf:
            raise TaskError(
                f"the reward {name}: the criterion {criterion!r} has {points} points; it needs more than 0"
            )
    for label, value in (labels or {}).items():
        if not plain(label) or not math.isfinite(value):
            raise TaskError(f"the reward {name}: the label {label!r} has the value {value}")
    if labels and len({plain(label) for label in labels}) < max(2, len(labels)):
        raise TaskError(f"the reward {name} needs two labels that differ in more than case")
