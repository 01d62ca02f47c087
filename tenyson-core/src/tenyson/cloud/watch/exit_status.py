"""How a job ended: the result file together with the exit status decides; neither does alone."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

from tenyson.cloud.backend import Handle, Observation
from tenyson.cloud.watch.diagnosis import EXIT_INTERRUPTED
from tenyson.core.run_folder import RunFolder
from tenyson.core.stdio import lossy_stderr
from tenyson.errors import TenysonError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.telemetry.events import Notice
from tenyson.telemetry.events.redact import Redactor


def conclude(
    spec: JobSpec,
    handle: Handle | None,
    seen: Observation,
    folder: Path,
    tail: list[str],
    seconds: float,
    *,
    interrupted: bool = False,
    own: bool = True,
) -> JobResult:
    """The JobResult of a job that ended, or that was lost; `own`: whether `folder` is still the job's.

    Exit status 0 with a valid result of this run is a success, 130 with a "stopped" one is a stop; all else is a
    failure, whose `failure_reason` begins with the reason class, where there is one, and ends with the last lines.
    """
    if own:
        left, complaint = _read_result(RunFolder(folder).job_result, spec.run_id)
    else:
        left, complaint = None, "another run has taken its folder"
    place = str(folder) if own else None
    if left is not None:
        # Where its files are, and on which machine it ran, is known here: the result's own word may be anybody's.
        ran_on = None if handle is None else handle.data.get("instance_id")
        left = replace(left, local_output_dir=str(folder), instance_id=ran_on)
        if seen.exit_code == 0 and left.status == "success":
            return left
        if seen.exit_code in (0, EXIT_INTERRUPTED) and left.status == "stopped" and not seen.preempted:
            return left
    if interrupted and left is None and seen.exit_code in (-signal.SIGTERM, EXIT_INTERRUPTED):
        why = "interrupted before there was anything to save"
        return JobResult(spec.run_id, "stopped", seconds, local_output_dir=place, failure_reason=why)
    return replace(
        left or JobResult(spec.run_id, "failed", seconds, local_output_dir=place),
        status="failed",
        failure_reason=_redact(_reason(seen, left, complaint, folder, tail), spec.run_id),
        instance_id=None if handle is None else handle.data.get("instance_id"),
        spot_interruption=seen.preempted,
    )


def not_launched(spec: JobSpec, seen: Observation) -> JobResult:
    """Of a job that was not started, for the reason that `seen` holds; what lies in its folder is of an earlier one."""
    text = _reason(seen, None, "", Path(), [])
    return JobResult(
        spec.run_id, "failed", 0.0, failure_reason=_redact(text, spec.run_id), spot_interruption=False
    )


def print_failure(result: JobResult) -> None:
    """Print a failure in red on stderr; without colour where NO_COLOR is set or nobody sees it."""
    from rich.console import Console
    from rich.text import Text

    where = f" on {result.instance_id}" if result.instance_id else ""
    spot = " (the spot instance was preempted)" if result.spot_interruption else ""
    message = f"{result.run_id} failed{where}{spot}: {result.failure_reason}"
    # rich ends the process where the reader of a pipe has left: not over a stream that drops what cannot be printed.
    console = Console(file=lossy_stderr(), soft_wrap=True, highlight=False)
    console.print(Text(message, style="bold red"))


def _read_result(path: Path, run_id: str) -> tuple[JobResult | None, str]:
    if not path.exists():
        return None, f"it left no {path.name}"
    try:
        result = JobResult.load(path)
    except TenysonError as error:
        return None, f"its {path.name} cannot be used ({error.cause})"
    if result.run_id != run_id:
        return None, f"its {path.name} is of another run ({result.run_id})"
    return result, ""


def _reason(seen: Observation, left: JobResult | None, complaint: str, folder: Path, tail: list[str]) -> str:
    told = left.failure_reason if left is not None else None
    if seen.exit_code == 0 and left is None:
        cause = f"the job ended with exit status 0, but {complaint}"
    elif told:
        cause = f"{told} ({seen.detail})" if seen.detail else told
    elif left is not None and not seen.detail:
        cause = f"exit status {seen.exit_code} does not fit a result that says {left.status}"
    else:
        cause = seen.detail or f"the job ended with exit status {seen.exit_code}, and {complaint}"
    text = f"{seen.reason}: {cause}" if seen.reason else cause
    if tail:
        lines = "\n".join(f"  {line}" for line in tail)
        text += f"\nthe last lines of {RunFolder(folder).log}:\n{lines}"
    return text


def _redact(text: str, run_id: str) -> str:
    """A log may hold a secret that a library printed; a failure reason travels further than a log."""
    redacted = Redactor(os.environ)(Notice(run_id=run_id, level="error", message=text))
    assert isinstance(redacted, Notice)
    return redacted.message
