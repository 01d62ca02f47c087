"""Selection: which steps of a plan are run, which are taken from earlier pipelines, and which are left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tenyson.config.explain import did_you_mean
from tenyson.core.ancestors import ancestors
from tenyson.errors import ConfigError
from tenyson.pipeline.graph.plan import Plan


@dataclass(frozen=True)
class Selection:
    """The steps that `--from`, `--only` and `--no-reuse` select."""

    plan: Plan
    anew: tuple[str, ...] | None = ()
    """Steps that run even if nothing changed; None for all."""
    required: tuple[str, ...] = ()
    """Steps that must have stored results."""

    def how(self, label: str) -> str:
        """How a step gets its result, in a few words."""
        if label in self.required:
            return "taken from an earlier pipeline"
        return "run even if unchanged" if self.anew is None or label in self.anew else "reused if unchanged"


def select(plan: Plan, *, start: str | None = None, only: str | None = None, reuse: bool = True) -> Selection:
    """Choose among a plan's steps.

    Args:
        start: run this step and everything downstream again; reuse earlier results for its upstream steps.
        only: run this step alone; reuse earlier results for its upstream steps, leave out all others.
        reuse: whether unchanged steps may reuse results of earlier pipelines.

    Raises:
        ConfigError: there is no such step.
    """
    asked = only or start
    if asked is None:
        return Selection(plan, () if reuse else None)
    labels = [step.label for step in plan.steps]
    if asked not in labels:
        near = did_you_mean(asked, labels)
        hint = f"{near[0].upper()}{near[1:]} " if near else ""
        raise ConfigError(f"there is no step {asked!r}", next_step=f"{hint}Steps: {', '.join(labels)}.")
    needs = {step.label: step.needs for step in plan.steps}
    above = ancestors(needs, asked)
    if only is not None:
        kept = tuple(step for step in plan.steps if step.label in above or step.label == only)
        return Selection(replace(plan, steps=kept), (only,), tuple(sorted(above)))
    below = [label for label in labels if label == asked or asked in ancestors(needs, label)]
    return Selection(plan, tuple(below) if reuse else None, tuple(sorted(above)) if reuse else ())
