"""What a step may pay for models behind URLs: the one that it evaluates, and the judges of its task's rewards. Nothing is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tenyson.cloud.remote.task_code import rewards_with_extras
from tenyson.config.checks.endpoint import asks_endpoint
from tenyson.core.chat.usage import Prices
from tenyson.errors import TenysonError
from tenyson.plugins.job_kinds import job_kind

if TYPE_CHECKING:
    from tenyson.jobs.spec import JobSpec
    from tenyson.pipeline.graph.plan import PlannedStep
    from tenyson.rewards.judging.judge import JudgedReward
    from tenyson.rewards.judging.model import JudgeModel
    from tenyson.tasks.plugin import TaskPlugin

MILLION = 1e6


@dataclass(frozen=True)
class ModelCost:
    """At most so many calls, with all attempts of the step. Calls that fail, and are repeated, do not count."""

    who: str
    """The model and its host, or what cannot be known of it."""
    calls: int | None
    """None: as many as the task has samples."""
    tokens: int | None
    """Most tokens of one answer; None: no limit is configured."""
    prices: Prices | None
    budget: float | None
    """US dollars at which it ends by its own budgets; None: they bound nothing."""

    @property
    def answers(self) -> float | None:
        """US dollars at most for what it writes; None where that is not known."""
        if self.prices is None or self.calls is None or self.tokens is None:
            return None
        return self.calls * self.tokens * self.prices.completion / MILLION

    @property
    def short(self) -> str:
        """Such as "at most $5.00" or "at most $0.82 and what it reads"."""
        if self.prices is None:
            return "no price configured"
        answers = self.answers
        if answers is not None and self.prices.prompt == 0:
            return f"at most {_dollars(min(answers, math.inf if self.budget is None else self.budget))}"
        if answers is None or (self.budget is not None and self.budget <= answers):
            return "nothing bounds it" if self.budget is None else f"at most {_dollars(self.budget)}"
        more = "" if self.budget is None else f", {_dollars(self.budget)} in all"
        return f"at most {_dollars(answers)} and what it reads{more}"

    @property
    def sentence(self) -> str:
        """How that comes about."""
        calls = (
            "a call for each reply to the split's samples"
            if self.calls is None
            else f"up to {self.calls:,} calls"
        )
        tokens = "of any length" if self.tokens is None else f"of at most {self.tokens:,} tokens"
        parts = [f"{self.who}: {calls}, answers {tokens}"]
        if self.prices is None:
            return f"{parts[0]}; no price configured"
        if self.answers is not None:
            parts.append(f"at most {_dollars(self.answers)} for what it writes")
        parts.append(f"${self.prices.prompt:g} for a million tokens that it reads")
        parts.append(
            "no budget" if self.budget is None else f"it ends at {_dollars(self.budget)} by its budget"
        )
        return "; ".join(parts)


def model_costs(step: PlannedStep, spec: JobSpec, task: TaskPlugin, attempts: int) -> list[ModelCost | str]:
    """Those of a step; a text where they cannot be known here."""
    found: list[ModelCost | str] = []
    if asks_endpoint(step.config):
        found.append(_of_endpoint(step, task, attempts))
    if job_kind(step.job).generates and "judge" in rewards_with_extras(spec.task):
        try:
            found += _of_judges(step, task, attempts)
        except TenysonError as error:
            found.append(f"a judge: not known here: {error.cause.splitlines()[0]}")
    return found


def cost_data(found: Sequence[ModelCost | str]) -> list[dict[str, Any]]:
    """The same, JSON-safe."""
    return [
        {"who": one, "note": one}
        if isinstance(one, str)
        else {
            "who": one.who,
            "calls": one.calls,
            "tokens": one.tokens,
            "answers_usd": one.answers,
            "budget_usd": one.budget,
            "summary": one.short,
            "note": one.sentence,
        }
        for one in found
    ]


def _of_endpoint(step: PlannedStep, task: TaskPlugin, attempts: int) -> ModelCost:
    config, endpoint = step.config, step.config["endpoint"]
    rollouts = _rollouts(step.job, config)
    replies = config["generation"]["max_turns"] if _has_turns(task) else 1
    prices, budget = None, endpoint["budget_usd"]
    if endpoint["prompt_usd"] is not None and endpoint["completion_usd"] is not None:
        prices = Prices(endpoint["prompt_usd"], endpoint["completion_usd"])
    return ModelCost(
        f"{config['model']['name']} at {urlsplit(endpoint['url'] or '').netloc}",
        None if rollouts is None else rollouts * replies * attempts,
        config["generation"]["max_new_tokens"],
        prices,
        None if budget is None else budget * attempts,
    )


def _of_judges(step: PlannedStep, task: TaskPlugin, attempts: int) -> Iterator[ModelCost]:
    """One of each model: its judges share what a run may spend. What a resumed run has asked before costs nothing again."""
    from tenyson.rewards.judging.judge import JudgedReward
    from tenyson.tasks.metrics.scoring import rewards_of

    rollouts, group = _rollouts(step.job, step.config), _group(step.job, step.config)
    # Only a model behind a URL answers otherwise when it is asked again.
    times = attempts if asks_endpoint(step.config) else 1
    judges: dict[tuple[str, str], list[JudgedReward]] = {}
    for reward in rewards_of(task):
        if isinstance(reward, JudgedReward):
            judges.setdefault((reward.model.name, reward.model.url), []).append(reward)
    for (name, url), rewards in judges.items():
        models = [one.model for one in rewards]
        asked = sum(one.questions * (group - 1 if one.group else 1) for one in rewards)
        calls = None if rollouts is None else rollouts * asked * times
        most = _largest([one.budget_calls for one in models])
        if most is not None:
            calls = int(most) if calls is None else min(calls, int(most))
        tokens = _largest([_limit(one) for one in models])
        yield ModelCost(
            f"the judge {name} at {urlsplit(url).netloc}",
            calls,
            None if tokens is None else int(tokens),
            _dearest([one.prices for one in models]),
            _largest([_budget(one) for one in models]),
        )


def _largest(bounds: Sequence[float | None]) -> float | None:
    """None, where one of them is: then nothing bounds them all."""
    known = [one for one in bounds if one is not None]
    return max(known) if len(known) == len(bounds) else None


def _dearest(prices: Sequence[Prices | None]) -> Prices | None:
    known = [one for one in prices if one is not None]
    if len(known) < len(prices):
        return None
    return Prices(max(one.prompt for one in known), max(one.completion for one in known))


def _limit(model: JudgeModel) -> int | None:
    found = (model.settings.get(name) for name in ("max_completion_tokens", "max_tokens"))
    return next((one for one in found if isinstance(one, int)), None)


def _budget(model: JudgeModel) -> float | None:
    bounds = [] if model.budget_usd is None else [model.budget_usd]
    if model.budget_tokens is not None and model.prices is not None:
        dearest = max(model.prices.prompt, model.prices.completion, model.prices.cached or 0.0)
        bounds.append(model.budget_tokens * dearest / MILLION)
    return min(bounds, default=None)


def _has_turns(task: TaskPlugin) -> bool:
    """Whether it may answer the model: an environment or tools, whatever the sample."""
    from tenyson.tasks.plugin import TaskPlugin

    return any(
        getattr(getattr(task, name), "__func__", None) is not getattr(TaskPlugin, name)
        for name in ("environment", "tools")
    )


def _group(job: str, config: Mapping[str, Any]) -> int:
    """Rollouts of one prompt."""
    if not job_kind(job).trains:
        return int(config["evaluation"]["samples_per_prompt"])
    return int(config["trl"].get("num_generations") or config["training"]["num_generations"])


def _rollouts(job: str, config: Mapping[str, Any]) -> int | None:
    """Those of the whole job, on one device; None: as many as the task has samples."""
    training, trl, group = config["training"], config["trl"], _group(job, config)
    if not job_kind(job).trains:
        samples = config["evaluation"]["samples"]
        return samples * group if isinstance(samples, int) else None
    batch = (trl.get("per_device_train_batch_size") or training["batch_size"]) * (
        trl.get("gradient_accumulation_steps") or training["gradient_accumulation_steps"]
    )
    steps = trl.get("max_steps") or training["max_steps"]
    if not isinstance(steps, int) or steps < 1:
        if training["samples"] is None:
            return None
        steps = math.ceil(training["samples"] * training["epochs"] * group / batch)
    evaluated = 0
    if training["eval_steps"]:
        if training["eval_samples"] is None:
            return None
        evaluated = math.ceil(steps / training["eval_steps"]) * training["eval_samples"]
    return int(steps * batch + evaluated * (trl.get("num_generations_eval") or group))


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.1g}"
