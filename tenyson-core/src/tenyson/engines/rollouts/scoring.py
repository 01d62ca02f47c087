"""Scoring: asks each reward of a task about the rollouts of a batch.

Plain rewards are asked one after the other, in the order of the rollouts, as a reward or a curriculum with a memory needs it; `async`
ones side by side. Which of them ends first reaches neither the results nor the order of any record.

Shape legend: B rollouts.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from tenyson.engines.rollouts.fault import Fault
from tenyson.engines.rollouts.limits import USUAL, Limits
from tenyson.engines.rollouts.process_state import ProcessState
from tenyson.engines.rollouts.question import Question, questions_about
from tenyson.engines.rollouts.side_by_side import Call, SideBySide
from tenyson.errors import TaskError, TenysonError
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout, RolloutError
from tenyson.tasks.verdict import Verdict

TICK_SECONDS = 0.5
"""How often a stop is looked for while async rewards are awaited."""


@dataclass(frozen=True)
class Scored:
    """A rollout, and what the rewards say of it."""

    rollout: Rollout
    """Its `rewards` hold the components, so that metrics need not ask again; its `error` names the first reward that failed."""
    components: dict[str, float | None]
    """Unweighted value by name; None where the reward says nothing, or failed."""
    reward: float
    """The weighted sum."""

    @property
    def failure(self) -> str | None:
        """What is wrong, in one line that names reward and sample."""
        return None if self.rollout.error is None else self.rollout.error.message


def score_all(
    rewards: Sequence[Reward],
    rollouts: Sequence[Rollout],
    groups: Sequence[Hashable] | None = None,
    limits: Limits = USUAL,
    *,
    where: Sequence[str] | None = None,
    between: Callable[[], None] = lambda: None,
) -> list[Scored]:
    """Ask every reward once; a rollout for which one fails has an `error`, and the others keep their values.

    Args:
        rollouts: B of them; those with an `error` are not asked about.
        groups: to which group each belongs; by default to that of its sample.
        where: what each rollout is, in words such as "on sample train/7".
        between: called every half second while async rewards are awaited; what it raises ends the scoring.

    Raises:
        TenysonError: one that ends the job, such as a budget that is spent.
    """
    told = where or [f"on sample {one.sample.id}" for one in rollouts]
    questions = questions_about(rewards, rollouts, groups or [one.sample.id for one in rollouts], told)
    with closing(SideBySide(limits.concurrency)) as side, closing(_Scorer(side, limits)) as scorer:
        for question in questions:
            if question.is_async:
                scorer.start(question)
        for question in questions:
            if not question.is_async:
                scorer.ask(question)
        scorer.wait(between)
    return [
        _scored(
            rewards, rollout, [scorer.found.get((number, place), _NOTHING) for number in range(len(rewards))]
        )
        for place, rollout in enumerate(rollouts)
    ]


@dataclass(frozen=True)
class _Found:
    """What one reward says of one rollout."""

    value: float | None = None
    error: RolloutError | None = None
    retried: tuple[RolloutError, ...] = ()
    """What failed before it was asked again."""
    verdicts: tuple[Verdict, ...] = ()


_NOTHING = _Found()


def _scored(rewards: Sequence[Reward], rollout: Rollout, found: Sequence[_Found]) -> Scored:
    components = {reward.name: one.value for reward, one in zip(rewards, found, strict=True)}
    total = sum(float(reward.weight) * (one.value or 0.0) for reward, one in zip(rewards, found, strict=True))
    error = rollout.error or next((one.error for one in found if one.error is not None), None)
    retried = (*rollout.retried, *(fault for one in found for fault in one.retried))
    verdicts = tuple(verdict for one in found for verdict in one.verdicts)
    scored = replace(rollout, rewards=components, error=error, retried=retried, verdicts=verdicts)
    return Scored(scored, components, total)


class _Scorer:
    """Asks questions and keeps what they came to, by number of the reward and place of the rollout."""

    def __init__(self, side: SideBySide, limits: Limits) -> None:
        self.found: dict[tuple[int, int], _Found] = {}
        self._side, self._limits = side, limits
        self._process = ProcessState()
        self._in_order: SideBySide | None = None
        self._failed: dict[Question, list[RolloutError]] = {}
        """Why questions that are asked again had no answer."""
        self._pending = 0

    def close(self) -> None:
        if self._in_order is not None:
            self._in_order.close()

    def start(self, question: Question) -> None:
        """Ask without waiting."""
        self._pending += 1
        self._side.start(Call(question, question.ask, self._seconds(question)))

    def ask(self, question: Question) -> None:
        """Ask now, in the order of the rollouts."""
        while True:
            value, fault = self._call(question)
            if inspect.isawaitable(value):  # a plain function may return one
                self._pending += 1
                self._side.start(Call(question, _returning(question, value), self._seconds(question)))
                return
            if not self._settle(question, value, fault, again=fault is not None and fault.error is not None):
                return

    def wait(self, between: Callable[[], None]) -> None:
        """Until all that was started has ended."""
        while self._pending:
            for ended in self._side.take(wait_for=1, seconds=TICK_SECONDS):
                question: Any = ended.key
                self._pending -= 1
                if self._settle(question, ended.value, ended.fault, again=True):
                    self.start(question)
            between()

    def _call(self, question: Question) -> tuple[Any, Fault | None]:
        """In this thread, which costs nothing, unless it has a limit: a thread that outlives it is left behind."""
        seconds = self._seconds(question)
        if seconds is None:
            value, fault = None, None
            try:
                value = question.ask()
            except (Exception, SystemExit) as error:
                fault = Fault.of(error)
            self._process.end_if_forked()
            return value, fault
        if self._in_order is None:
            self._in_order = SideBySide(1)
        # In a tuple, so that what can be awaited is not awaited there.
        [ended] = self._in_order.run([Call(question, lambda: (question.ask(),), seconds)])
        return (ended.value[0] if ended.value else None), ended.fault

    def _settle(self, question: Question, value: Any, fault: Fault | None, *, again: bool) -> bool:
        """Keep what a question came to; True: it is to be asked again."""
        values: Sequence[float | None] = [None] * len(question.places)
        error = None
        if fault is None:
            try:
                values = question.read(value)
            except TaskError as wrong:
                error = RolloutError("reward", type(wrong).__name__, wrong.cause)
        else:
            if isinstance(fault.error, TenysonError):
                if fault.error.ends_job:
                    raise fault.error
                again = False  # it says what to correct
            error = question.error(fault)
            failed = self._failed.setdefault(question, [])
            if again and len(failed) < self._limits.retries:
                failed.append(error)
                return True
        retried = tuple(self._failed.get(question, ()))
        verdicts = question.verdicts(value, fault)
        for place, one, said in zip(question.places, values, verdicts, strict=True):
            self.found[question.number, place] = _Found(one, error, retried, said)
        return False

    def _seconds(self, question: Question) -> float | None:
        own = question.reward.seconds
        return self._limits.reward_seconds if own is None else own


def _returning(question: Question, value: Any) -> Callable[[], Any]:
    """What returns `value`, which can be awaited once, and asks again after that."""
    first = deque([value])
    return lambda: first.popleft() if first else question.ask()
