"""Measurement: the rollouts of an evaluation as they come, recorded and scored once each, and what they amount to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tenyson.engines.play import Trajectory
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.scoring import Scored, score_all
from tenyson.errors import TaskError
from tenyson.jobs.data.intervals import over_samples
from tenyson.jobs.data.rollout_records import (
    NAMED,
    broken_metadata,
    calls_metadata,
    commonest,
    rollout_event,
)
from tenyson.jobs.job import JobContext, Outcome
from tenyson.tasks.metrics.core import measure
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.telemetry.events import Event, MetricsLogged, RolloutFinished


@dataclass
class Measurement:
    """What an evaluation of `total` rollouts has found so far."""

    context: JobContext
    renderer: Renderer
    rewards: Sequence[Reward]
    total: int
    rollouts: list[Rollout] = field(default_factory=list)
    """Those that were played to their ends; where a reward failed, the task's other rewards and metrics still count."""
    broken: list[Rollout] = field(default_factory=list)
    """Those that the task's environment, a tool or a reward broke."""
    done: int = 0
    """Rollouts that were played, the broken ones included."""
    tokens: int = 0
    seconds: float = 0.0
    paused: float = 0.0
    """Seconds that do not count."""
    asked: Callable[[], dict[str, Any]] | None = None
    """What an engine that takes messages says of its requests so far."""
    metric_failures: list[str] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)

    def take(self, trajectories: Sequence[Trajectory], between: Callable[[], None] = lambda: None) -> None:
        """Score and record a batch. `between` is called while async rewards are awaited; what it raises drops the batch.

        Raises: TaskError: of all rollouts so far not one could be finished and scored.
        """
        limits = Limits.from_config(self.context.config)
        found = score_all(self.rewards, [one.rollout for one in trajectories], limits=limits, between=between)
        events: list[Event] = [
            self._event(trajectory, scored) for trajectory, scored in zip(trajectories, found, strict=True)
        ]
        self.seconds = max(time.monotonic() - self._begun - self.paused, 1e-9)
        values = {
            "tokens_per_second": self.tokens / self.seconds,
            "rollouts_per_second": len(self.rollouts) / self.seconds,
        }
        if self.asked is not None:
            numbers = self.asked().items()
            values |= {
                f"endpoint/{name}": float(value) for name, value in numbers if type(value) in (int, float)
            }
        self.context.telemetry.emit(
            *events,
            MetricsLogged(
                run_id=self.context.run_id,
                phase=self.context.kind.phase,
                step=self.done,
                total_steps=self.total,
                values=values,
            ),
        )
        if len(self.broken) == self.done:
            self.require_enough()

    def require_enough(self) -> None:
        """Say what failed. Raises: TaskError: more rollouts than `rollouts.max_failed` allows, or a metric."""
        if not self.broken and not self.metric_failures:
            return
        most = self.context.config.rollouts.max_failed or 0.0
        causes = [commonest(self.broken)] if self.broken else self.metric_failures[:1]
        what = f"{len(self.broken)} of {self.total} rollouts failed" if self.broken else "a metric failed"
        if self.metric_failures or len(self.broken) > most * self.total:
            raise TaskError(
                f"{what}: {causes[0]}",
                next_step="Correct the task; `tenyson rollouts RUN --errors` lists what failed, and rollouts.max_failed says how "
                "many may. results.json keeps what could be measured, marked as partial.",
            )
        self.context.say(
            f"{what} and are left out, no more than rollouts.max_failed ({most:g}) allows: {causes[0]}",
            "warning",
        )

    def outcome(self, metadata: dict[str, Any]) -> Outcome:
        """What was measured so far."""
        self.metric_failures.clear()
        metrics = measure(self.context.task, self.rollouts, self.metric_failures)
        metrics = over_samples(self.context.task, self.rollouts, metrics)
        early = self.done < self.total
        found = {
            **metadata,
            **({"endpoint": self.asked()} if self.asked is not None else {}),
            "samples": len({rollout.sample.id for rollout in self.rollouts}),
            "rollouts": len(self.rollouts),
            # A stop that came with the last batch stopped nothing.
            "stopped_early": early,
            "stop_reason": self.context.stop.reason if early else None,
            "tokens": self.tokens,
            "generation_seconds": self.seconds,
        }
        broken_off = [one for one in self.broken if one.error and one.error.source != "reward"]
        found |= broken_metadata(self.broken) | calls_metadata([*self.rollouts, *broken_off])
        if self.metric_failures:
            causes = [{"cause": cause} for cause in self.metric_failures[:NAMED]]
            found["failures"] = found.get("failures", []) + causes
            found.setdefault("failed_rollouts", 0)
        return Outcome(metrics=metrics, metadata=found)

    def _event(self, trajectory: Trajectory, scored: Scored) -> RolloutFinished:
        rollout = scored.rollout
        self.done += 1
        if rollout.error:
            self.broken.append(rollout)
        if not rollout.error or rollout.error.source == "reward":
            self.rollouts.append(rollout)
        self.tokens += rollout.tokens
        return rollout_event(
            self.context,
            self.renderer,
            replace(trajectory, rollout=rollout),
            training=False,
            step=0,
            group=rollout.sample.id,
            reward=scored.reward,
        )
