"""The entry point of every machine that runs a job: `python -m tenyson.runner`.

Exit status: 0 success, 1 the job failed, 2 a mistake in the request, 130 stopped by a signal after saving,
or before the first step.
Whatever happens, job_result.json says it.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenyson.core.run_folder import RunFolder
from tenyson.core.stdio import is_terminal, say, standard_streams
from tenyson.errors import ConfigError, TenysonError
from tenyson.jobs.result import JobResult, stopped_early
from tenyson.jobs.runtime.interpreter import collect_rarely, end_after_handlers, end_now
from tenyson.jobs.runtime.lingering import exit_grace
from tenyson.jobs.runtime.threads import let_threads_sleep
from tenyson.plugins.job_kinds import JOB_KINDS, job_class, job_kind
from tenyson.telemetry.control.signals import STOPPED, Signals, StoppedEarlyError
from tenyson.telemetry.control.state import StopSignal

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.job import Job


def parser() -> argparse.ArgumentParser:
    """The command line, exactly the specification's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m tenyson.runner", description="Run one job on this machine and write its results."
    )
    parser.add_argument("--job-type", required=True, choices=JOB_KINDS, help="what to run")
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
        help="continue from a checkpoint (trainings only)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job; returns the exit status."""
    # UTF-8 where nobody looks on: the log is read as that, on whichever machine and in whichever locale it was written.
    with standard_streams(encoding=None if is_terminal(sys.stdout) else "utf-8"):
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    let_threads_sleep()  # the task's own module may import torch
    run = _Run()
    if __name__ == "__main__":
        collect_rarely()
        end_after_handlers(lambda: run.ended)
    try:
        status = run.job_of(options)
    except StoppedEarlyError as error:
        run.write_stopped(str(error))
        if __name__ == "__main__":
            # An import that was torn, or a thread of the user's, may keep the interpreter from ending, or make it crash.
            end_now(STOPPED)
        run.signals.restore()
        return STOPPED
    if __name__ == "__main__":
        run.leave(status)
    else:
        run.signals.restore()
    return status


class _Run:
    """What is known of the job so far, for a result whatever happens."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._job: Job | None = None
        self._folder: RunFolder | None = None
        self._run_id: str | None = None
        self._stop = StopSignal()
        self.ended: int | None = None
        # Before anything of the user's is imported, which may hang.
        self.signals = Signals(self._stop, self.write_stopped)

    def job_of(self, options: argparse.Namespace) -> int:
        """Make the job and run it; returns the exit status. Raises: StoppedEarlyError."""
        try:
            config = _configured(options.job_type, options.config, options.resume_from_checkpoint)
            if config.run.id is not None:
                self._known(config.run.output_dir, config.run.id)
            self._job = job = _make(options.job_type, config, options.task_module)
            self._known(job.config.run.output_dir, job.run_id)
            result = job.run(self._stop)
        except TenysonError as error:
            reason = _without_secrets(self._job, str(error))
            say(f"error: {reason}")
            self._write_failure(reason)
            return error.exit_status
        except Exception as error:
            say(_without_secrets(self._job, traceback.format_exc()), end="")
            self._write_failure(_without_secrets(self._job, f"{type(error).__name__}: {error}"))
            return 1
        return STOPPED if result.status == "stopped" else 0

    def leave(self, status: int) -> None:
        """All is written down. What the job's own code has left running keeps the process for a while, and no longer."""

        def end() -> None:
            threads = [
                one.name
                for one in threading.enumerate()
                if not one.daemon and one is not threading.main_thread()
            ]
            what = f"threads of its own code ({', '.join(threads)[:200]})" if threads else "an exit handler"
            say(
                f"the job has ended, and {what} kept its process; the process is ended, and the result stands"
            )
            os._exit(status)

        self.ended = status
        self.signals.over(status)
        timer = threading.Timer(exit_grace(), end)
        timer.daemon = True
        timer.start()

    def write_stopped(self, name: str) -> None:
        """The result of a job that a signal ended before its first step."""
        if self._folder is not None and self._run_id is not None:
            self._save(stopped_early(self._run_id, name, self._seconds(), self._folder.path))

    def _known(self, output_dir: str, run_id: str) -> None:
        self._folder, self._run_id = RunFolder.of(output_dir, run_id), run_id

    def _seconds(self) -> float:
        return time.monotonic() - self._begun

    def _write_failure(self, reason: str) -> None:
        if self._job is None or self._folder is None:
            return
        self._save(
            JobResult(
                run_id=self._job.run_id,
                status="failed",
                total_time_seconds=self._seconds(),
                metrics=self._job.partial_metrics,
                failure_reason=reason,
                local_output_dir=str(self._folder.path),
            )
        )

    def _save(self, result: JobResult) -> None:
        assert self._folder is not None
        try:
            result.save(self._folder.job_result)
        except (OSError, ValueError) as error:
            say(f"error: the result cannot be written: {error}")


def make_job(job_type: str, config_file: str, task_module: str, resume: str | None = None) -> Job:
    """Build the job that the command line describes.

    Raises:
        TenysonError: configuration or task cannot be used.
    """
    return _make(job_type, _configured(job_type, config_file, resume), task_module)


def _configured(job_type: str, config_file: str, resume: str | None) -> Config:
    from tenyson.config.load import load_config

    config = load_config(config_file)
    if resume is None:
        return config
    if not job_kind(job_type).trains:
        raise ConfigError(f"--resume-from-checkpoint is for trainings; {job_type} has no checkpoints")
    return _resuming(config, resume)


def _make(job_type: str, config: Config, task_module: str) -> Job:
    from tenyson.tasks.load import load_task

    task = load_task(task_module, config.task.args)
    return job_class(job_type)(config, task)


def _resuming(config: Config, reference: str) -> Config:
    training = config.training.model_copy(update={"resume_from_checkpoint": reference})
    return config.model_copy(update={"training": training})


def _without_secrets(job: Job | None, text: str) -> str:
    from tenyson.telemetry.events.redact import redactor_of

    return redactor_of(None if job is None else job.config).text(text)


if __name__ == "__main__":
    sys.exit(main())
