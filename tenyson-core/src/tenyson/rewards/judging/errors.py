"""What goes wrong with judges."""

from __future__ import annotations

from collections.abc import Sequence

from tenyson.errors import TenysonError
from tenyson.tasks.verdict import Verdict


class JudgeError(TenysonError, RuntimeError):
    """A judge gives no verdict on a rollout; `verdicts` are those that could not be read, or that came before."""

    exit_status = 1

    def __init__(
        self,
        cause: str,
        *,
        place: str | None = None,
        next_step: str | None = None,
        verdicts: Sequence[Verdict] = (),
    ) -> None:
        super().__init__(cause, place=place, next_step=next_step)
        self.verdicts = tuple(verdicts)


class JudgeBudgetError(JudgeError):
    """A further answer would exceed a judge's budget."""

    exit_status = 2
    ends_job = True


class JudgeStoreError(JudgeError):
    """Answers that cost money cannot be kept, so nobody is asked."""

    exit_status = 2
    ends_job = True
