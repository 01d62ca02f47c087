"""Sample rollouts: the best, the median and the worst conversation of each evaluation, by reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenyson.reporting.context import ReportContext
from tenyson.reporting.markdown import fence
from tenyson.reporting.stage import Stage

MAX_CHARACTERS = 2000


def samples(context: ReportContext) -> str:
    """Three conversations of each evaluation, as the model saw them. Ties go to the smaller sample id."""
    parts = []
    for stage in context.evaluations:
        parts.append(f"### {stage.label}")
        chosen = _chosen(stage)
        if not chosen:
            parts.append("No rollout of it was recorded.")
        for title, rollout in chosen:
            about = [f"sample `{rollout['sample_id']}`", f"reward {_show(rollout['reward'])}"]
            about += [f"{name} {_show(value)}" for name, value in rollout.get("components", {}).items()]
            about.append(f"ended by {rollout.get('finish_reason', 'stop')}")
            parts.append(f"**{title}**: {', '.join(about)}")
            parts.append(fence(_cut(rollout["prompt"]) + "\n----\n" + _cut(rollout["completion"])))
    return "\n\n".join(parts) or "No evaluation was part of this pipeline."


def _chosen(stage: Stage) -> list[tuple[str, Mapping[str, Any]]]:
    scored = [rollout for rollout in stage.record.rollouts if rollout.get("reward") is not None]
    scored.sort(key=lambda rollout: (-float(rollout["reward"]), rollout["sample_id"]))
    if not scored:
        return []
    picks = {"Best": 0, "Median": len(scored) // 2, "Worst": len(scored) - 1}
    taken: dict[int, str] = {}
    for title, index in picks.items():
        taken.setdefault(index, title)
    return [(title, scored[index]) for index, title in sorted(taken.items())]


def _show(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    rest = len(text) - MAX_CHARACTERS
    return text if rest <= 0 else f"{text[:MAX_CHARACTERS]}\n[{rest} characters more]"
