"""How a pipeline went: one row for each of its steps, with attempts, decisions, time and cost."""

from __future__ import annotations

from tenyson.core.duration import duration
from tenyson.reporting.context import ReportContext
from tenyson.reporting.history import StepHistory
from tenyson.reporting.markdown import table


def steps(context: ReportContext) -> str:
    """The status table of the whole pipeline, steps that never ran included; what failed, and who decided what."""
    if not context.history:
        return ""
    rows = [
        [
            step.label, step.job, step.words, str(len(step.attempts) or ""), ", ".join(step.needs), _run(step),
        ]
        for step in context.history
    ]  # fmt: skip
    parts = [table(["Step", "Job", "State", "Attempts", "Needs", "Run"], rows)]
    told = [line for step in context.history for line in _story(step)]
    if told:
        parts.append("\n".join(f"- {line}" for line in told))
    return "\n\n".join(parts)


def cost(context: ReportContext) -> str:
    """Time and money of each step, all attempts and waits included."""
    if not context.history:
        return "The pipeline has no journal: what is known of its time stands above."
    ran = [step for step in context.history if step.attempts and not step.reused_from]
    if not ran:
        return "No step of this pipeline was run again."
    rows = []
    total_seconds = total_waited = total_cost = 0.0
    known = True
    for step in ran:
        seconds = sum(attempt.seconds for attempt in step.attempts)
        waited = sum(decision.waited_seconds for decision in step.decisions)
        prices = [attempt.per_hour for attempt in step.attempts]
        known &= all(price is not None for price in prices)
        paid = sum(
            (price or 0.0) * attempt.seconds / 3600
            for price, attempt in zip(prices, step.attempts, strict=True)
        )
        rows.append(
            [
                step.label,
                duration(seconds),
                duration(waited) if waited else "",
                f"${paid:.2f}" if paid else "—",
            ]
        )
        total_seconds, total_waited, total_cost = (
            total_seconds + seconds,
            total_waited + waited,
            total_cost + paid,
        )
    rows.append(
        ["all", duration(total_seconds), duration(total_waited) if total_waited else "", f"${total_cost:.2f}"]
    )
    note = "" if known else "\n\nThe price of some machines is not known: their cost is missing here."
    head = ["Step", "Machine time", "Waited for a decision", "Cost"]
    return f"{table(head, rows)}\n\nMachine time is that of all attempts; cost is the hourly price times that.{note}"


def _run(step: StepHistory) -> str:
    return f"`{step.run_id}`" if step.attempts else ""


def _story(step: StepHistory) -> list[str]:
    lines = [
        f"`{step.label}`, attempt {attempt.number}: {attempt.state.lower()} after {duration(attempt.seconds)}"
        + (f": {attempt.reason}" if attempt.reason else "")
        for attempt in step.attempts
        if attempt.state in ("FAILED", "STOPPED")
    ]
    lines += [
        f"`{step.label}`: {decision.answer}, decided by {decision.by} after {duration(decision.waited_seconds)}"
        for decision in step.decisions
    ]
    if step.reused_from:
        lines.append(f"`{step.label}`: nothing changed since `{step.reused_from}`, whose result is reused")
    return lines
