"""The trial: environment, tools and rewards of a task, each tried once before the first step.

It leaves nothing behind: random numbers and the task's memory are as before, and environments are closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tenyson.engines.rollouts.limits import Limits
from tenyson.jobs.data.samples import SOURCES
from tenyson.jobs.preflight.played.as_before import as_before
from tenyson.jobs.preflight.played.known_answers import calls_tools, replies_of
from tenyson.jobs.preflight.played.scripted import ScriptedRollout
from tenyson.jobs.preflight.played.tried_environment import broken_off, unclosed_environment
from tenyson.jobs.preflight.played.tried_rewards import try_rewards
from tenyson.jobs.preflight.played.tried_tools import ToolTrial
from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.checks import current_samples, has_agent, overrides
from tenyson.tasks.metrics.scoring import rewards_of
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Sample

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer

MOST = 4
"""Samples that are tried at most."""


def try_task(
    task: TaskPlugin, samples: Sequence[Sample], renderer: Renderer, config: Config, *, trains: bool
) -> list[Finding]:
    """Try the environment, the tools and the rewards of a task.

    Args:
        samples: what the job plays. The first one with a completion is tried, and one of each further source and set of tools.
        trains: whether the job is RL, which compares a group's rollouts and plays what `current_sample` makes of a sample.

    Raises:
        ModelError: a prompt cannot be rendered.
        TaskError: a hook beside those that are tried raises.
    """
    rewards = rewards_of(task)
    with as_before(task):
        trial = _Trial(task, renderer, config)
        for sample in _chosen(samples):
            trial.play(sample, trains=trains)
            if trial.broken:
                break
        size = _rollouts_of_a_prompt(config, trains)
        found = [*trial.findings, *try_rewards(rewards, trial.rollouts, size, Limits.from_config(config))]
    return [*found, *trial.summary()]


@dataclass
class _Trial:
    task: TaskPlugin
    renderer: Renderer
    config: Config
    findings: list[Finding] = field(default_factory=list)
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    """What rewards are asked about, by what each is."""
    broken: bool = False
    """Whether an environment or an agent has failed."""
    _tools: ToolTrial = field(default_factory=ToolTrial)
    _environments: dict[str, None] = field(default_factory=dict)
    """Their classes, in order."""

    def play(self, sample: Sample, *, trains: bool) -> None:
        """Play it with its good answer, where it has one, and with empty replies."""
        if has_agent(self.task):
            pass  # which asks whatever it wants to
        elif calls_tools(sample):
            self._make_up(sample)
        elif sample.completion:
            self._play(sample, f"a good answer to {sample.id}", replies_of(sample))
        if not self.broken:
            [current] = current_samples(self.task, [sample], dict) if trains else [sample]
            self._play(current, f"an empty answer to {current.id}", [""], tries_tools=True)

    @property
    def _check(self) -> str:
        return "agent" if has_agent(self.task) else "environment"

    def summary(self) -> Iterator[Finding]:
        """What was tried and is well."""
        if has_agent(self.task) and not self.broken:
            yield Finding("agent", "info", "tried with a model that says nothing")
        if self._environments and not self.broken:
            yield Finding("environment", "info", f"tried: {', '.join(self._environments)}")
        yield from self._tools.summary()

    def _play(self, sample: Sample, what: str, replies: Sequence[str], *, tries_tools: bool = False) -> None:
        with ScriptedRollout(self.task, sample, self.renderer, self.config) as scripted:
            if tries_tools and not has_agent(self.task):
                self.findings += self._tools.of(self.task, scripted, self.renderer, self.config)
            found, environment = scripted.play(replies), scripted.environment
        if found is None:
            self.findings.append(Finding(self._check, "info", f"{what} takes long to play, and was given up"))
        elif found.error is not None:
            self.broken = True
            self.findings.append(broken_off(found, what))
        else:
            self.rollouts[what] = found
        if environment is not None:
            name = type(environment).__name__
            if scripted.close_fault and name not in self._environments:
                self.findings.append(unclosed_environment(name, sample, scripted.close_fault))
            self._environments[name] = None

    def _make_up(self, sample: Sample) -> None:
        """A rollout of a completion that calls tools, which are not called for it."""
        if overrides(self.task, "environment"):
            return  # only the environment could say what it knows at the end
        calls = sum(len(one.get("tool_calls") or ()) for one in sample.completion)
        info = {"tool_calls": calls, "tool_calls_refused": 0}
        self.rollouts[f"a good answer to {sample.id}"] = Rollout(sample, tuple(sample.completion), info=info)


def _chosen(samples: Sequence[Sample]) -> list[Sample]:
    """The first one with a completion, else the first, and those of further sources and tools."""
    first = next((one for one in samples if one.completion), samples[0])
    found, known = [first], {_kind(first)}
    for sample in samples:
        if len(found) == MOST:
            break
        if (kind := _kind(sample)) not in known:
            known.add(kind)
            found.append(sample)
    return found


def _kind(sample: Sample) -> tuple[str, ...]:
    source = next((str(sample.data[key]) for key in SOURCES if key in sample.data), "")
    return source, *(str(one["function"]["name"]) for one in sample.tools)


def _rollouts_of_a_prompt(config: Config, trains: bool) -> int:
    if not trains:
        return config.evaluation.samples_per_prompt
    number = config.trl.get("num_generations", config.training.num_generations)
    return number if isinstance(number, int) else 1
