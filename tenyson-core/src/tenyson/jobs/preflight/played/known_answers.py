"""Known good answers and nonsense, played and scored: a reward that cannot tell them apart teaches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.scoring import score_all
from tenyson.jobs.preflight.played.scripted import ScriptedRollout
from tenyson.jobs.preflight.played.tried_rewards import ADVICE
from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.checks import has_agent
from tenyson.tasks.metrics.scoring import rewards_of
from tenyson.tasks.sample import Sample

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.tasks.plugin import TaskPlugin

TRIED = 4
"""Known answers that are tried."""
NONSENSE = "zzz"


def check_rewards(
    task: TaskPlugin, samples: Sequence[Sample], renderer: Renderer, config: Config
) -> Iterator[Finding]:
    """Plays known good answers (completions of RL's own samples) and nonsense, and looks at what they are worth."""
    if has_agent(task):
        yield Finding("rewards", "info", "an agent plays the rollouts, so no known answer was tried")
        return
    known = list(islice((one for one in samples if one.completion and not calls_tools(one)), TRIED))
    if not known:
        calling = any(one.completion for one in samples)
        yield Finding(
            "rewards",
            "info",
            "the completions of RL's samples call tools, so no known answer was tried"
            if calling
            else "no RL sample has a completion, so no answer is known to be good, and none was tried",
        )
        return
    every = rewards_of(task)
    rewards = [one for one in every if one.check is None]
    if not rewards:
        return  # whatever they are worth, it costs money to ask
    worth: dict[str, list[float]] = {"good": [], "bad": []}
    for sample in known:
        answers = {"good": replies_of(sample), "bad": [NONSENSE]}
        rollouts, failure = [], None
        for kind, scripted in answers.items():
            with ScriptedRollout(task, sample, renderer, config) as rollout:
                found = rollout.play(scripted)
            if found is None:
                yield Finding(
                    "rewards", "info", f"a {kind} answer to {sample.id} takes long to play, and was given up"
                )
                return
            rollouts.append(found)
            if found.error:
                failure = failure or f"a {kind} answer: {found.error.message}"
        if failure is None:
            where = [f"on a {kind} answer to {sample.id}" for kind in answers]
            scored = score_all(rewards, rollouts, limits=Limits.from_config(config), where=where)
            failure = next((one.failure for one in scored if one.failure), None)
        if failure:
            yield Finding("rewards", "error", failure, ADVICE)
            return
        for kind, one in zip(answers, scored, strict=True):
            worth[kind].append(one.reward)
    good, bad = (sum(values) / len(values) for values in worth.values())
    if good > bad:
        words = f"known good answers are worth {good:.3g}, {NONSENSE!r} is worth {bad:.3g}"
        yield Finding("rewards", "info", words)
    elif len(rewards) == len(every):
        yield Finding(
            "rewards",
            "warning",
            f"known good answers are worth {good:.3g} and {NONSENSE!r} is worth {bad:.3g}, so this reward does not teach the task",
            "Check the rewards, their signs and weights.",
        )


def replies_of(sample: Sample) -> list[str]:
    """What the assistant says in a sample's completion."""
    return [one["content"] for one in sample.completion if one["role"] == "assistant"]


def calls_tools(sample: Sample) -> bool:
    """Whether its completion does: playing it would call them."""
    return any(one.get("tool_calls") for one in sample.completion)
