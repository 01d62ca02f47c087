"""A task whose rewards ask judges, as its arguments say; loaded by path."""

from tenyson import rewards
from tenyson.tasks import Environment, Observation, TaskPlugin

PRICES = rewards.Prices(prompt=0.5, completion=2.0)


class Talk(Environment):
    def step(self, reply):
        return Observation("And?")


class AskingTask(TaskPlugin):
    name = "asking"

    def __init__(self, judge="rubric", budget=None, priced=True, limit=100, turns=False):
        super().__init__(judge=judge, budget=budget, priced=priced, limit=limit, turns=turns)
        self.way = judge
        self.model = rewards.JudgeModel(
            name="wise",
            url="https://judge.example/v1",
            settings={"max_completion_tokens": limit} if limit else {},
            prices=PRICES if priced else None,
            budget_usd=budget,
        )
        if turns:
            self.environment = lambda sample: Talk()

    def rl_samples(self, split, seed):
        raise AssertionError("a dry run reads no samples")

    eval_samples = rl_samples

    def rewards(self):
        if self.way == "rubric":
            return [rewards.judge(self.model, rubric={"It is kind.": 1, "It is true.": 2})]
        if self.way == "pairs":
            return [rewards.exact(), rewards.judge(self.model, pairwise=True)]
        if self.way == "broken":
            raise RuntimeError("planted")
        return [rewards.exact()]
