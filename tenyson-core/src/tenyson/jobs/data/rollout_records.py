"""What is recorded of rollouts, and which of their errors and refused calls are the commonest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from tenyson.engines.play import Trajectory
from tenyson.engines.renderers import Renderer
from tenyson.jobs.job import JobContext
from tenyson.tasks.rollout import Rollout
from tenyson.telemetry.events import RolloutFinished


def rollout_event(
    context: JobContext,
    renderer: Renderer,
    trajectory: Trajectory,
    *,
    training: bool,
    step: int,
    group: str,
    reward: float | None,
    advantage: float | None = None,
    dropped: str | None = None,
) -> RolloutFinished:
    """The record of a scored rollout; the arguments are fields of `RolloutFinished`."""
    rollout = trajectory.rollout
    return RolloutFinished(
        run_id=context.run_id,
        phase=context.kind.phase,
        training=training,
        step=step,
        sample_id=rollout.sample.id,
        group=group,
        prompt=renderer.raw(trajectory.prompt_ids),
        completion=renderer.raw(trajectory.completion_ids),
        reward=None if rollout.error else reward,
        components=rollout.rewards,
        advantage=advantage,
        finish_reason="error" if rollout.error else rollout.finish_reason,
        trained=training and dropped is None,
        dropped=dropped,
        tokens=rollout.tokens,
        info=rollout.info,
        errors=_errors(rollout),
        verdicts=[asdict(one) for one in rollout.verdicts],
        tool_calls=None if rollout.tool_calls is None else [asdict(one) for one in rollout.tool_calls],
    )


NAMED = 20
"""Broken rollouts that the results name; the others are counted."""


def broken_metadata(broken: Sequence[Rollout]) -> dict[str, Any]:
    """What the metadata of the results say of broken rollouts; empty where there are none."""
    if not broken:
        return {}
    named = [(one.sample.id, one.error.message) for one in broken[:NAMED] if one.error is not None]
    return {
        "failed_rollouts": len(broken),
        "commonest_failure": commonest(broken),
        "failures": [{"sample": sample, "cause": cause} for sample, cause in named],
    }


def commonest(rollouts: Iterable[Rollout]) -> str:
    """The commonest error of some rollouts, by its source and class, and how many of them had it."""
    errors = [one.error for one in rollouts if one.error is not None]
    [(kind, count)] = Counter((error.source, error.kind) for error in errors).most_common(1)
    message = next(error.message for error in errors if (error.source, error.kind) == kind)
    return message if len(errors) == 1 else f"{message} ({kind[1]}, {count} of {len(errors)})"


def calls_metadata(rollouts: Iterable[Rollout]) -> dict[str, Any]:
    """What the metadata of the results say of calls of tools; empty where none was made."""
    calls = [call for one in rollouts for call in one.tool_calls or ()]
    if not calls:
        return {}
    refused = [one for one in calls if one.refused]
    found: dict[str, Any] = {"tool_calls": len(calls), "tool_calls_refused": len(refused)}
    if refused:
        [((name, outcome), count)] = Counter((one.name, one.outcome) for one in refused).most_common(1)
        cause = next(one.cause for one in refused if (one.name, one.outcome) == (name, outcome))
        found["commonest_refusal"] = f"{name or outcome}: {cause} ({count} of {len(refused)})"
    return found


def _errors(rollout: Rollout) -> list[dict[str, Any]]:
    """What broke it, in order."""
    final = [] if rollout.error is None else [rollout.error]
    return [
        *({**asdict(one), "retried": True} for one in rollout.retried),
        *({**asdict(one), "retried": False} for one in final),
    ]
