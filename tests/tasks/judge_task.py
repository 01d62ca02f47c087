"""A task for tests whose only reward is a judge's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenyson import rewards
from tenyson.tasks import Reward, Sample, TaskPlugin


class JudgeTask(TaskPlugin):
    """Sixteen letters, and a judge behind `url`."""

    name = "judged"

    def __init__(self, url: str, budget_calls: int | None = None, pairwise: bool = False) -> None:
        super().__init__(url=url, budget_calls=budget_calls, pairwise=pairwise)
        self._model = rewards.JudgeModel(
            name="tiny",
            url=url,
            api_key_env="JUDGE_OPENS",
            concurrency=1,
            budget_calls=budget_calls,
            prices=rewards.Prices(prompt=1, completion=4),
        )
        self._pairwise = pairwise

    def _all(self, split: str, seed: int) -> Iterator[Sample]:
        for index in range(16):
            yield Sample(f"{split}/{index}", [{"role": "user", "content": "abcdefgh"[index % 8]}])

    rl_samples = eval_samples = _all

    def rewards(self) -> Sequence[Reward]:
        if self._pairwise:
            return [rewards.judge(self._model, pairwise=True)]
        return [rewards.judge(self._model, rubric={"It is short.": 2, "It is polite.": 1})]
