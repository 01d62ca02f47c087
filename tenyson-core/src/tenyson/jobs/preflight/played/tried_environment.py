"""What is said of an environment or an agent that failed in its trial."""

from __future__ import annotations

from tenyson.engines.rollouts.fault import Fault
from tenyson.engines.rollouts.side_by_side import Ended
from tenyson.errors import TaskError
from tenyson.jobs.preflight.played.scripted import PATIENT_SECONDS
from tenyson.jobs.runtime.finding import Finding, Severity
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Sample

_RAISES = "Correct it: whatever the model writes is data, and no reply may break {}."
_SLOW = f"rollouts.step_seconds is the limit of a call; preflight waits {PATIENT_SECONDS:.0f} s where it is not set."


def broken_off(rollout: Rollout, what: str) -> Finding:
    """Of a rollout that its environment or agent broke off. `what`: what the model was made to say."""
    error = rollout.error
    assert error is not None
    times = len(rollout.retried) + 1
    again = f", played {times} times" if times > 1 else ""
    cause = f"{error.message} (with {what}{again})"
    late = error.kind == "TimeoutError"
    if error.source != "agent":
        return Finding("environment", "error", cause, _SLOW if late else _RAISES.format("an environment"))
    # An agent may take long, and may rely on a model that says something; but one that never asks is broken.
    severity: Severity = "warning" if late or rollout.messages else "error"
    return Finding("agent", severity, cause, _SLOW if late else _RAISES.format("an agent"))


def unclosed_environment(name: str, sample: Sample, fault: Fault) -> Finding:
    """Of one whose close failed, which breaks no rollout."""
    try:
        Ended(None, fault=fault).result(f"close() of the environment {name}", f" on sample {sample.id}")
    except TaskError as error:
        cause = error.cause
    return Finding(
        "environment",
        "warning",
        cause,
        "Rollouts take no notice of it; see that connections, processes and slots are given back all the same.",
    )
