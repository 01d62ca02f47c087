"""The section: Markdown without a heading, which the template has."""

from tenyson.reporting.context import ReportContext
from tenyson.reporting.markdown import table

from my_thing.hardest import never_rewarded

SHOWN = 10
"""Most samples that are named."""


def section(context: ReportContext) -> str:
    """A row for each evaluation; "" where there is none. Raise ReportError rather than leave a gap."""
    rows = []
    for stage in context.evaluations:
        samples = never_rewarded(stage.record.rollouts)
        named = ", ".join(samples[:SHOWN]) + (", ..." if len(samples) > SHOWN else "")
        rows.append([stage.label, named or "none", str(len(samples))])
    return table(["Evaluation", "Never rewarded", "Samples"], rows) if rows else ""
