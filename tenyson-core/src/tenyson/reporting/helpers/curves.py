"""Learning curves: SVG files beside the report, one for each group of metrics of each training stage."""

from __future__ import annotations

import re

from tenyson.errors import ReportError
from tenyson.reporting.chart import line_chart
from tenyson.reporting.context import ReportContext

GROUPS = {
    "loss": ("loss", "eval_loss"),
    "reward": ("reward", "eval_reward"),
    "kl": ("kl",),
}


def curves(context: ReportContext) -> str:
    """Writes the charts and returns the markdown that shows them.

    Raises: ReportError: a training stage that succeeded logged no loss, or another metric that its kind of job must log.
    """
    parts = []
    for position, stage in enumerate(context.stages, start=1):
        if not stage.kind.trains:
            continue
        parts.append(f"### {stage.label}")
        logged = stage.record.curves
        needed = stage.kind.logs
        missing = [name for name in needed if name not in logged]
        # The trainer sums up at the end even where the run was shorter than training.logging_steps.
        short = "train_loss" in logged and not any(name in logged for name in needed)
        if short:
            parts.append("The run was shorter than `training.logging_steps`: no step of it was logged.")
        elif missing and stage.complete:
            raise ReportError(f"missing: no {' and no '.join(missing)} was logged by {stage.label}")
        elif missing:
            parts.append(f"No {' and no '.join(missing)} was logged before it {stage.status}.")
        for group, names in {**GROUPS, **stage.kind.curves}.items():
            series = {name: sorted(logged[name].items()) for name in names if name in logged}
            if not series:
                continue
            file = f"{position}-{re.sub(r'[^A-Za-z0-9._-]+', '-', stage.label)}-{group}.svg"
            svg = line_chart(f"{stage.label}: {group}", series)
            (context.directory / file).write_text(svg, encoding="utf-8")
            parts.append(f"![{stage.label}: {group} by step]({file})")
        if stage.kind.generates and "kl" not in logged:
            parts.append(
                "GRPO's loss says little by itself: without a KL term it hovers around 0. Read the reward."
            )
    return "\n\n".join(parts) or "Nothing was trained in this pipeline."
