"""Evaluations side by side: the stage table, the slices, and the differences from one to the next.

It shows whatever an evaluation measured: a task's own metrics, and those of `tenyson.tasks.metrics.core`.
"""

from __future__ import annotations

import math
from itertools import pairwise

from tenyson.core.ancestors import ancestors
from tenyson.errors import ReportError
from tenyson.reporting.context import ReportContext
from tenyson.reporting.markdown import p_value, signed, table, with_interval
from tenyson.reporting.stage import Stage
from tenyson.reporting.statistics import (
    Difference,
    can_be_paired,
    paired_difference,
    sample_means,
    sign_flip_test,
    unpaired_difference,
)
from tenyson.tasks.metrics.metric import Metric


def stage_table(context: ReportContext) -> str:
    """One row for each metric, one column for each evaluation, with 95% intervals."""
    if not context.evaluations:
        return "No evaluation was part of this pipeline."
    return _table(context, [name for name in _names(context) if "/" not in name])


def slices(context: ReportContext) -> str:
    """The same for metrics over parts of the samples, named `metric/slice`."""
    names = [name for name in _names(context) if "/" in name]
    return _table(context, names) if names else "The task reports no slices."


def differences(context: ReportContext) -> str:
    """What each stage changed: the differences between an evaluation and the nearest upstream ones."""
    pairs = _pairs(context)
    if not pairs:
        return "There are no two evaluations to compare."
    rows, notes, unpaired = [], [], False
    for before, after in pairs:
        for name in _names(context):
            old, new = before.metrics.get(name), after.metrics.get(name)
            if old is None or new is None or "/" in name:
                continue
            found = difference(name, before, after)
            if found is None:
                continue
            unpaired |= not found.paired
            how = f"paired, {found.n} samples" if found.paired else "not paired"
            p = "" if found.p is None else p_value(found.p)
            if found.note:
                notes.append(f"{name}, {before.label} → {after.label}: {found.note}.")
            rows.append([f"{before.label} → {after.label}", name, signed(name, found), p, how])
    note = (
        "Intervals are 95%. Paired: the percentile bootstrap over samples (2,000 draws, fixed seed) of the differences "
        "within samples; p is the two-sided sign-flip test of the same differences."
    )
    if unpaired:
        note += (
            " Not paired: square-and-add of the two intervals (Newcombe 1998), as for independent samples."
        )
    told = "".join(f"\n- {one}" for one in notes)
    told = f"\n\n{told.lstrip()}" if told else ""
    return f"{table(['From → to', 'Metric', 'Difference', 'p', 'Comparison'], rows)}\n\n{note}{told}"


def difference(name: str, before: Stage, after: Stage) -> Difference | None:
    """How a metric changed; None where it has no interval and nothing to pair.

    It is paired where the stored rollouts hold a quantity (the reward, a component of it, or a number or truth value
    of the environment's `info`) whose mean is the metric in both evaluations, over the same samples.
    """
    old, new = before.metrics[name], after.metrics[name]
    if old is None or new is None:
        return None
    first, second = before.quantities, after.quantities
    for quantity in sorted(first.keys() & second.keys(), key=lambda key: _nearness(key, name)):
        a, b = first[quantity], second[quantity]
        if not (_is_mean(a, old) and _is_mean(b, new)):
            continue
        means_a, means_b = sample_means(a), sample_means(b)
        if can_be_paired(means_a, means_b):
            found = paired_difference(means_a, means_b)
            if found.has_interval:
                changes = [means_b[key] - means_a[key] for key in sorted(means_a.keys() & means_b.keys())]
                return found.tested(sign_flip_test(changes))
            # Where all samples changed alike, the intervals of both evaluations still say how sure each of them is.
            unpaired = unpaired_difference(old, new)
            return unpaired if unpaired.has_interval else found
    if math.isnan(old.low) and math.isnan(new.low) and old.n == new.n == 1:
        return None  # plain numbers, of nobody knows how many samples
    return unpaired_difference(old, new)


def _pairs(context: ReportContext) -> list[tuple[Stage, Stage]]:
    """Each evaluation with the one before it; in a graph, with the nearest evaluations among the steps that it needs."""
    finished = {stage.label: stage for stage in context.evaluations if stage.metrics}
    needs = {step.label: step.needs for step in context.history}
    if not needs:
        return list(pairwise(finished.values()))
    above = {label: ancestors(needs, label) for label in finished}
    pairs = []
    for label, stage in finished.items():
        before = [name for name in finished if name in above[label]]
        nearest = [name for name in before if not any(name in above[other] for other in before)]
        pairs += [(finished[name], stage) for name in nearest]
    return pairs


def _names(context: ReportContext) -> list[str]:
    """Names of all metrics; those that the task puts first come first."""
    found = dict.fromkeys(name for stage in context.evaluations for name in stage.metrics)
    first = [name for name in (context.task.headline if context.task else ()) if name in found]
    return [*first, *(name for name in found if name not in first)]


def _table(context: ReportContext, names: list[str]) -> str:
    missing = [
        f"{name} of {stage.label}"
        for stage in context.evaluations
        if stage.complete
        for name in names
        if name not in stage.metrics
    ]
    if missing:
        raise ReportError(f"missing: {', '.join(missing)}", next_step="Evaluate all stages with one task.")
    header = ["Metric (95% interval)", *(stage.label for stage in context.evaluations)]
    rows = [[name, *(_value(name, stage) for stage in context.evaluations)] for name in names]
    rows.append(["samples", *(str(stage.metadata.get("samples", "—")) for stage in context.evaluations)])
    return table(header, rows)


def _value(name: str, stage: Stage) -> str:
    return with_interval(name, stage.metrics[name]) if name in stage.metrics else f"— ({stage.status})"


def _is_mean(values: list[tuple[str, float]], metric: Metric) -> bool:
    mean = sum(value for _, value in values) / len(values)
    return len(values) == metric.n and abs(mean - metric.value) <= 1e-9 * max(1.0, abs(metric.value))


def _nearness(quantity: str, name: str) -> tuple[bool, bool, str]:
    return (quantity != name, not name.startswith(quantity), quantity)
