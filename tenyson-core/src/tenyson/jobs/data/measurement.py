"""Measurement: the rollouts of an evaluation as they come, recorded and scored once each, and what they amount to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tenyson.engines.play import Failure, Trajectory
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.scoring import Scored, score_all
from tenyson.errors import TaskError
from tenyson.jobs.data.intervals import over_samples
from tenyson.jobs.job import JobContext, Outcome
from tenyson.tasks.core_metrics import measure
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout
from tenyson.telemetry.events import Event, MetricsLogged, RolloutFinished

NAMED = 20
"""Failures that the results name; the others are counted."""


@dataclass
class Measurement:
    """What an evaluation of `total` rollouts has found so far."""

    context: JobContext
    renderer: Renderer
    rewards: Sequence[Reward]
    total: int
    rollouts: list[Rollout] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    """Rollouts that the task's environment or one of its rewards could not finish or score."""
    tokens: int = 0
    seconds: float = 0.0
    paused: float = 0.0
    """Seconds that do not count."""
    metric_failures: list[str] = field(default_factory=list)
    _broken: int = 0
    _begun: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Rollouts that were played, failures included."""
        return len(self.rollouts) + self._broken

    def take(self, trajectories: Sequence[Trajectory], broken: Sequence[Failure]) -> None:
        """Score and record a batch.

        Raises: TaskError: of all rollouts so far not one could be finished and scored.
        """
        self.failures += broken
        self._broken += len(broken)
        limits = Limits.from_config(self.context.config)
        found = score_all(self.rewards, [one.rollout for one in trajectories], limits=limits)
        events: list[Event] = [
            self._event(trajectory, scored) for trajectory, scored in zip(trajectories, found, strict=True)
        ]
        self.seconds = max(time.monotonic() - self._begun - self.paused, 1e-9)
        values = {
            "tokens_per_second": self.tokens / self.seconds,
            "rollouts_per_second": len(self.rollouts) / self.seconds,
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
        if self.done == len(self.failures):
            self.require_all()

    def require_all(self) -> None:
        """Raises: TaskError: rollouts or metrics failed."""
        causes = [*(failure.cause for failure in self.failures), *self.metric_failures]
        if not causes:
            return
        failed = (
            f"{len(self.failures)} of {self.total} rollouts failed" if self.failures else "a metric failed"
        )
        more = f" (and {len(causes) - 1} more)" if len(causes) > 1 else ""
        raise TaskError(
            f"{failed}: {causes[0]}{more}",
            next_step="Correct the task. results.json keeps what could be measured, marked as partial.",
        )

    def outcome(self, metadata: dict[str, Any]) -> Outcome:
        """What was measured so far."""
        self.metric_failures.clear()
        metrics = measure(self.context.task, self.rollouts, self.metric_failures)
        metrics = over_samples(self.context.task, self.rollouts, metrics)
        early = self.done < self.total
        found = {
            **metadata,
            "samples": len({rollout.sample.id for rollout in self.rollouts}),
            "rollouts": len(self.rollouts),
            # A stop that came with the last batch stopped nothing.
            "stopped_early": early,
            "stop_reason": self.context.stop.reason if early else None,
            "tokens": self.tokens,
            "generation_seconds": self.seconds,
        }
        if self.failures or self.metric_failures:
            found["failed_rollouts"] = len(self.failures)
            found["failures"] = [
                *({"sample": one.sample.id, "cause": one.cause} for one in self.failures[:NAMED]),
                *({"cause": cause} for cause in self.metric_failures[:NAMED]),
            ]
        return Outcome(metrics=metrics, metadata=found)

    def _event(self, trajectory: Trajectory, scored: Scored) -> RolloutFinished:
        rollout = scored.rollout
        self.rollouts.append(rollout)
        self.tokens += rollout.tokens
        if scored.failure:
            self.failures.append(Failure(rollout.sample, scored.failure))
        return RolloutFinished(
            run_id=self.context.run_id,
            phase=self.context.kind.phase,
            training=False,
            step=0,
            sample_id=rollout.sample.id,
            group=rollout.sample.id,
            prompt=self.renderer.raw(trajectory.prompt_ids),
            completion=self.renderer.raw(trajectory.completion_ids),
            reward=None if scored.failure else scored.reward,
            components=scored.components,
            finish_reason=rollout.finish_reason,
            tokens=rollout.tokens,
            info=dict(rollout.info) | ({"failure": scored.failure} if scored.failure else {}),
        )
