"""The entry point of every machine that runs a job: `python -m tenyson.runner`.

Exit status: 0 success, 1 the job failed, 2 a mistake in the request, 130 stopped by a signal after saving.
Whatever happens, job_result.json says it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.errors import ConfigError, TenysonError
from tenyson.stdio import is_terminal, say, standard_streams

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.job import Job
    from tenyson.telemetry.control import StopSignal

STOPPED = 130


def parser() -> argparse.ArgumentParser:
    """The command line, exactly the specification's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m tenyson.runner", description="Run one job on this machine and write its results."
    )
    parser.add_argument("--job-type", required=True, choices=["sft", "rl", "eval"], help="what to run")
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML or JSON configuration")
    parser.add_argument(
        "--task-module",
        required=True,
        metavar="FILE|MODULE:CLASS",
        help="a Python file with one TaskPlugin subclass, or module.path:ClassName",
    )
    parser.add_argument(
        "--resume-from-checkpoint",
        metavar="DIR|REPO:REVISION|latest",
        help="continue from a checkpoint (sft and rl only)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job; returns the exit status."""
    # UTF-8 where nobody looks on: the log is read as that, on whichever machine and in whichever locale it was written.
    with standard_streams(encoding=None if is_terminal(sys.stdout) else "utf-8"):
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    begun = time.monotonic()
    job: Job | None = None
    try:
        job = make_job(options.job_type, options.config, options.task_module, options.resume_from_checkpoint)
        result = job.run(_stop_on_signals())
    except TenysonError as error:
        reason = _without_secrets(job, str(error))
        say(f"error: {reason}")
        _write_failure(job, reason, begun)
        return error.exit_status
    except Exception as error:
        say(_without_secrets(job, traceback.format_exc()), end="")
        _write_failure(job, _without_secrets(job, f"{type(error).__name__}: {error}"), begun)
        return 1
    return STOPPED if result.status == "stopped" else 0


def make_job(job_type: str, config_file: str, task_module: str, resume: str | None = None) -> Job:
    """Build the job that the command line describes.

    Raises:
        TenysonError: configuration or task cannot be used.
    """
    from tenyson.config.load import load_config
    from tenyson.tasks.load import load_task

    config = load_config(config_file)
    if resume is not None:
        if job_type == "eval":
            raise ConfigError("--resume-from-checkpoint is for sft and rl; an evaluation has no checkpoints")
        config = _resuming(config, resume)
    task = load_task(task_module, config.task.args)
    return job_class(job_type)(config, task)


def job_class(job_type: str) -> type[Job]:
    """The class behind a job type."""
    if job_type == "sft":
        from tenyson.jobs.sft import SFTJob

        return SFTJob
    if job_type == "rl":
        from tenyson.jobs.rl import RLJob

        return RLJob
    from tenyson.jobs.eval import EvalJob

    return EvalJob


def _resuming(config: Config, reference: str) -> Config:
    training = config.training.model_copy(update={"resume_from_checkpoint": reference})
    return config.model_copy(update={"training": training})


def _stop_on_signals() -> StopSignal:
    from tenyson.telemetry.control import StopSignal

    stop = StopSignal()

    def handle(number: int, _: object) -> None:
        name = signal.Signals(number).name
        if stop.requested:
            say(f"{name} again: ending now, without saving")
            os._exit(128 + number)
        stop.set(name)
        say(f"{name}: saving at the next step boundary, then ending")

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


def _without_secrets(job: Job | None, text: str) -> str:
    from tenyson.telemetry.redact import redactor_of

    return redactor_of(None if job is None else job.config).text(text)


def _write_failure(job: Job | None, reason: str, begun: float) -> None:
    if job is None:
        return
    from tenyson.jobs.folder import JobFolder
    from tenyson.jobs.result import JobResult

    folder = JobFolder.of(job.config.run.output_dir, job.run_id)
    result = JobResult(
        run_id=job.run_id,
        status="failed",
        total_time_seconds=time.monotonic() - begun,
        metrics=job.partial_metrics,
        failure_reason=reason,
        local_output_dir=str(Path(folder.path)),
    )
    try:
        result.save(folder.job_result)
    except (OSError, ValueError) as error:
        print(f"error: the result cannot be written: {error}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
