"""Every error that Tenyson raises on purpose.

TenysonError
├── ConfigError(ValueError)          the configuration cannot be used; carries all problems at once
├── PluginError(LookupError)
│   ├── UnknownPluginError           no provider has that name
│   ├── DuplicatePluginError         two distributions provide one name
│   └── BrokenPluginError            a provider fails to import or returns something else than entries
├── TaskError(ValueError)            a task module or a task's data cannot be used
│   └── WorkerError                  a process that runs code of a task fails, or what it was asked does
├── ModelError(ValueError)           a model, adapter, tokenizer or checkpoint cannot be used
├── EngineError(RuntimeError)        text generation cannot start or broke off
│   └── LogprobMismatchError         engine and trainer do not hold the same policy
├── EndpointError(RuntimeError)      a model behind a URL cannot be reached or used
├── BackendError(RuntimeError)       a machine cannot be had, reached or controlled
│   ├── DisplacedError               another run has taken the job's folder
│   ├── BudgetError                  a further attempt could cost more than budget_usd (`tenyson.cloud.remote.backend`)
│   ├── OddAnswerError               a machine's answer cannot be used as a whole (`tenyson.cloud.remote.outputs`)
│   ├── UnreachableError             SSH does not reach the machine (`tenyson.cloud.remote.ssh.errors`)
│   ├── HostKeyError                 another machine answers at its address (the same)
│   ├── CommandError                 a command there failed (the same)
│   ├── PrivateKeyError              the private key is missing or cannot be used (the same)
│   └── GoneError                    the machine no longer exists (the same)
├── TelemetryError(RuntimeError)     the telemetry store cannot be used
│   ├── NoRunsYetError               the database holds no run yet (`tenyson.telemetry.database.readonly`)
│   ├── SchemaOutdatedError          the database has an older schema (`tenyson.telemetry.database.schema`)
│   └── ChangedWhileReadError        a writer changed what was being read (`tenyson.telemetry.read.store`)
├── PipelineError(RuntimeError)      a pipeline or its journal cannot be used
│   ├── JournalAwayError             the journal's database does not answer
│   ├── DamagedRowError              a row of the journal holds what Tenyson did not write
│   ├── PipelineBusyError            another controller drives it
│   ├── LeaseLostError               another controller has taken it over
│   └── NothingStoredError           no earlier result can be reused (`tenyson.pipeline.cache.inputs`)
├── PreflightError                   a job that can come to nothing was not started (`tenyson.jobs.runtime.finding`)
├── StoppedByHandError               a job was stopped before there was anything to save (`tenyson.jobs.job`)
├── JudgeError(RuntimeError)         a judge gives no verdict on a rollout (`tenyson.rewards.judging.errors`)
│   ├── JudgeBudgetError             a further answer would exceed a judge's budget; it ends the job (the same)
│   └── JudgeStoreError              answers cannot be kept; it ends the job (the same)
├── ReportError(ValueError)          a report misses something it promises
├── DestinationError(ValueError)     a file that the user named cannot be written (`tenyson.core.destination`)
└── MissingDependencyError(ImportError)   an optional package is not installed; the message has the pip line

A message says the cause; `place` says where (file, line, key), `next_step` what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class TenysonError(Exception):
    """The root of the tree. `exit_status` is what the command line exits with."""

    exit_status = 2
    reason: str | None = None
    """Of a backend's error: one of the reasons of `tenyson.cloud.backend.Observation`, which decides about retries."""
    ends_job: bool = False
    """Whether a job cannot continue past it, even where it is raised by a task's code about one rollout."""

    def __init__(self, cause: str, *, place: str | None = None, next_step: str | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.place = place
        self.next_step = next_step

    def __str__(self) -> str:
        text = f"{self.place}: {self.cause}" if self.place else self.cause
        return f"{text}\n  {self.next_step}" if self.next_step else text

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process boundaries; keyword-only arguments would be lost by the default.
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(cls: type[TenysonError], state: dict[str, object]) -> TenysonError:
    error = cls.__new__(cls)
    Exception.__init__(error, state.get("cause", ""))
    error.__dict__.update(state)
    return error


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a configuration."""

    cause: str
    key: str = ""
    """Dotted path of the key, such as "training.learning_rate"."""
    file: str = ""
    line: int | None = None
    """1-based line in `file`."""
    suggestion: str = ""
    """The nearest valid name, or what to do."""
    severity: Literal["error", "warning"] = "error"
    """A warning stops nothing."""

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part)
        what = f"{self.key}: {self.cause}" if self.key else self.cause
        text = f"{where}: {what}" if where else what
        return f"{text} ({self.suggestion})" if self.suggestion else text


class ConfigError(TenysonError, ValueError):
    """The configuration cannot be used. `problems` holds every one that was found."""

    def __init__(self, problems: list[Problem] | str, *, next_step: str | None = None) -> None:
        self.problems = [Problem(problems)] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems), next_step=next_step)


class PluginError(TenysonError, LookupError):
    """A plugin cannot be used."""


class UnknownPluginError(PluginError):
    """No installed distribution provides that name."""


class DuplicatePluginError(PluginError):
    """Two installed distributions provide one name."""


class BrokenPluginError(PluginError):
    """A plugin fails to import, or does not return entries."""


class TaskError(TenysonError, ValueError):
    """A task module or a task's data cannot be used."""


class WorkerError(TaskError):
    """A process of `tenyson.core.workers` fails, or what it was asked does."""

    def __init__(
        self,
        cause: str,
        *,
        kind: Literal["python", "start", "ended", "answer", "late", "raised"],
        message: str = "",
        raised: str = "",
        output: str = "",
        next_step: str | None = None,
    ) -> None:
        super().__init__(cause, next_step=next_step)
        self.kind = kind
        """`python`: the interpreter cannot be run; `start`: the process does not start; `ended`: it ended over the request;
        `answer`: what it wrote is no answer, or too long; `late`: no answer in time; `raised`: what was called raised."""
        self.message = message or cause
        """The cause alone, for sentences of one's own: what the exception says, or the last line that the process printed."""
        self.raised = raised
        """Class of the exception that was raised there; "" otherwise."""
        self.output = output
        """Its traceback, or the last that the process printed."""


class ModelError(TenysonError, ValueError):
    """A model, adapter, tokenizer or checkpoint cannot be used."""


class EngineError(TenysonError, RuntimeError):
    """Text generation cannot start or broke off."""

    exit_status = 1


class LogprobMismatchError(EngineError):
    """An engine's log-probabilities differ from those of the model in training: they do not hold the same policy."""


class EndpointError(TenysonError, RuntimeError):
    """A model behind a URL cannot be reached or used."""

    exit_status = 1

    def __init__(
        self, cause: str, *, kind: str, place: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(cause, place=place, next_step=next_step)
        self.kind = kind
        """What failed: one of `tenyson.core.chat.failure.Fault`."""
        if self.lasting or kind == "request":
            self.exit_status = 2  # a further attempt would be in vain

    @property
    def lasting(self) -> bool:
        """Whether every further request would fail in the same way."""
        return self.kind in ("key", "model", "url", "quota", "budget")


class BackendError(TenysonError, RuntimeError):
    """A machine cannot be had, reached or controlled."""

    exit_status = 1


class DisplacedError(BackendError):
    """Another run has taken a job's folder: what lies there now is not the job's."""

    reason = "user_error"


class TelemetryError(TenysonError, RuntimeError):
    """The telemetry store cannot be used."""


class PipelineError(TenysonError, RuntimeError):
    """A pipeline or its journal cannot be used."""


class JournalAwayError(PipelineError):
    """The journal's database does not answer, or somebody holds it locked."""

    exit_status = 1


class DamagedRowError(PipelineError):
    """A row of the journal holds what Tenyson did not write; the message names table and row."""


class PipelineBusyError(PipelineError):
    """Another controller drives the pipeline."""


class LeaseLostError(PipelineError):
    """Another controller has taken the pipeline over: this one may write nothing more."""

    exit_status = 3


class ReportError(TenysonError, ValueError):
    """A report misses something it promises."""


class MissingDependencyError(TenysonError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, *, needed_for: str, install: str) -> None:
        super().__init__(
            f"{needed_for} needs {package}, which is not installed", next_step=f"pip install '{install}'"
        )
        self.package = package
