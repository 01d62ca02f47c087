"""What findings do to a job: errors stop it, unless `run.allow` names their check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tenyson.core.finding import Finding, Severity
from tenyson.errors import TenysonError

__all__ = ["REFUSALS", "Finding", "PreflightError", "Severity", "let_pass"]

REFUSALS = ("processes", "engine", "arguments", "model", "checkpoint", "samples")
"""What no job can do without; `tenyson doctor` tells it as findings, and nothing lets it pass."""


def let_pass(findings: Iterable[Finding], allowed: Iterable[str]) -> list[Finding]:
    """The findings, with errors of the checks that `run.allow` names made warnings."""
    names = set(allowed) - set(REFUSALS)
    return [
        replace(one, severity="warning") if one.severity == "error" and one.check in names else one
        for one in findings
    ]


class PreflightError(TenysonError):
    """A job that cannot succeed was not started. `findings` holds all findings."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = list(findings)
        errors = [finding for finding in self.findings if finding.severity == "error"]
        text = "; ".join(f"{one.check}: {one.cause}. {one.next_step}".strip() for one in errors)
        names = ", ".join(dict.fromkeys(one.check for one in errors))
        super().__init__(
            f"preflight: {text}",
            next_step=f"`tenyson doctor --config FILE --job JOB` shows all findings; run.allow: [{names}] runs the job regardless.",
        )
