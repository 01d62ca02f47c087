"""run_pipeline: steps one after another, and a person's decision where one fails."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tenyson.errors import TenysonError
from tenyson.jobs.result import JobResult
from tenyson.pipeline.decision import Ask, Decision, OnFailure, ask_terminal, check_policy
from tenyson.pipeline.handover import start_from_result
from tenyson.pipeline.notify import Notifier
from tenyson.pipeline.result import PipelineResult
from tenyson.pipeline.step import Step, as_steps, with_values

if TYPE_CHECKING:
    from tenyson.cloud.manager import SpecifiedJob
    from tenyson.telemetry.dispatch import Telemetry


class Cloud(Protocol):
    """Anything that runs a job: LocalManager, AWSManager, ModalManager."""

    def run(self, job: SpecifiedJob, /) -> JobResult:
        """Run one job to its end. A failed job is a result."""


def run_pipeline(
    steps: Iterable[Step | tuple[Any, ...]],
    cloud: Cloud,
    on_failure: OnFailure = "wait",
    *,
    log_file: str | Path | None = None,
    webhook_url: str | None = None,
    telemetry: Telemetry | None = None,
    ask: Ask = ask_terminal,
    done: Mapping[str, JobResult] | None = None,
) -> PipelineResult:
    """Run steps in order; each is `(label, config, JobClass, task)`, optionally with a fifth, `model_from`.

    A failed step is printed in red, told to `log_file`, `webhook_url` (https) and `telemetry` where they are given,
    and then decided on: by a person for "wait" (resume from the latest checkpoint, restart from scratch, continue
    with the next step, abort), or by `on_failure` itself.

    Args:
        ask: how a person is asked; at the terminal by default. Without a terminal the answer is abort.
        done: results of steps that need not run again, by label.

    Raises:
        ConfigError: the steps, `on_failure` or `webhook_url` cannot be used; nothing was started.
    """
    check_policy(on_failure)
    notifier = Notifier(log_file, webhook_url, telemetry)
    begun = time.monotonic()
    results: dict[str, JobResult] = {}
    used: dict[str, Mapping[str, Any]] = {}

    def ended(status: Any) -> PipelineResult:
        return PipelineResult(status, results, time.monotonic() - begun)

    for step in as_steps(steps):
        # What this step really ran with: steps after it may stand on the same base.
        used[step.label] = step.config
        if done is not None and step.label in done:
            results[step.label] = done[step.label]
            if step.model_from is not None:
                used[step.label] = _handed_over(step, used, results)
            continue
        decision: Decision | None = None
        while decision != "continue":
            result = _attempt(step, cloud, used, results)
            results[step.label] = result
            if getattr(cloud, "interrupted", False):
                return ended("stopped")
            if result.status == "success":
                break
            notifier.failed(step.label, result)
            decision = on_failure if on_failure != "wait" else ask(step.label, result, _choices(result))
            if decision == "abort":
                return ended("failed")
            resume = "latest" if decision == "resume" else None
            config = with_values(step.config, "run", id=result.run_id)
            step = step._replace(config=with_values(config, "training", resume_from_checkpoint=resume))
    return ended("success" if all(result.status == "success" for result in results.values()) else "failed")


def _attempt(
    step: Step, cloud: Cloud, used: dict[str, Mapping[str, Any]], results: Mapping[str, JobResult]
) -> JobResult:
    """Run the step once. An error before the launch is a failed step as well: what ran before it must not be lost."""
    begun = time.monotonic()
    try:
        config = _handed_over(step, used, results) if step.model_from else step.config
        used[step.label] = config
        return cloud.run(step.job(config, step.task))
    except TenysonError as error:
        from tenyson.cloud.verdict import print_failure

        run_id = str((step.config.get("run") or {}).get("id") or step.label)
        result = JobResult(run_id, "failed", time.monotonic() - begun, failure_reason=str(error))
        print_failure(result)
        return result


def _handed_over(
    step: Step, used: Mapping[str, Mapping[str, Any]], results: Mapping[str, JobResult]
) -> dict[str, Any]:
    assert step.model_from is not None
    source = step.model_from
    return start_from_result(step.config, used[source], source, results.get(source))


def _choices(result: JobResult) -> tuple[Decision, ...]:
    """Only what can work: there is nothing to resume without a checkpoint."""
    folder = Path(result.local_output_dir) if result.local_output_dir else None
    local_and_empty = folder is not None and folder.is_dir() and not (folder / "checkpoints").is_dir()
    if folder is None or local_and_empty:
        return ("restart", "continue", "abort")
    return ("resume", "restart", "continue", "abort")
