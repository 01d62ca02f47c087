"""An examination: all that a job checks or refuses before its first step, without starting it or writing anything.

A job stops at the first thing that it refuses; here each becomes a finding, and what can still be looked at is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tenyson.config.checks.endpoint import asks_endpoint
from tenyson.core.run_folder import RunFolder
from tenyson.errors import TenysonError
from tenyson.jobs.job import Job, JobContext
from tenyson.jobs.preflight.engine import require_engine
from tenyson.jobs.preflight.job_checks import Examined, Preflight
from tenyson.jobs.preflight.report import Segments, check_task
from tenyson.jobs.preflight.shared_checks import check_machine
from tenyson.jobs.runtime.finding import Finding, let_pass
from tenyson.jobs.runtime.quiet import missing_libraries, quiet_libraries
from tenyson.jobs.runtime.world import World
from tenyson.telemetry.control import Controls

if TYPE_CHECKING:
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.models.model import ModelSource


@dataclass
class Examination:
    """One job, examined."""

    job: Job
    memory: int | None = None
    """Bytes of the accelerator that it is for; None for this machine."""
    processes: int = 1
    shown: int = 2
    """Samples to decode."""
    findings: list[Finding] = field(default_factory=list)
    samples: list[Segments] = field(default_factory=list)
    _built: Any = None
    """The arguments for TRL."""
    _preflight: Preflight = field(default_factory=Preflight)
    """The checks of its kind."""

    def run(self) -> None:
        """Fill `findings` and `samples`. Without the training libraries, what needs none of them is looked at, and the
        versions tell of the rest."""
        from tenyson.config.checks.passthrough import check_passthrough

        kind, config = self.job.kind, self.job.config
        self._preflight = (kind.part("preflight") or Preflight)()
        first = list(self._preflight.first(config, self.processes))
        self.findings += first
        if asks_endpoint(config.model_dump(include={"generation"})) and not kind.trains:
            self._chat()
            self.findings = let_pass(self.findings, config.run.allow)
            return
        able = not missing_libraries()
        if able:
            quiet_libraries()
        with self._refusals("engine"):
            if kind.generates:
                elsewhere = self.memory is not None or not able
                require_engine(kind.name, config, elsewhere=elsewhere)
        with self._refusals("arguments"):
            check_passthrough(config, kind)
            if able and not first:
                self._arguments()
        if able:
            with self._refusals("model"):
                self._look_into(*self._model())
        if not any(one.check == "disk" for one in self.findings):
            self.findings += check_machine(config, kind.name, config.model.name, self.memory)
        self.findings = let_pass(self.findings, config.run.allow)

    def _chat(self) -> None:
        """Of an evaluation whose model is behind a URL: no weights and no tokenizer are looked for."""
        from tenyson.config.checks.passthrough import check_passthrough
        from tenyson.jobs.preflight.endpoint import examine_chat

        with self._refusals("arguments"):
            check_passthrough(self.job.config, self.job.kind)
        if any(one.severity == "error" for one in self.findings):
            return
        with self._refusals("endpoint"):
            found, self.samples = examine_chat(self.job.config, self.job.task, self.shown)
            self.findings += found

    def _look_into(self, source: ModelSource, tokenizer: Any, renderer: Renderer) -> None:
        with self._refusals("checkpoint"):
            self._checkpoint(source, renderer)
        with self._refusals("samples"):
            self._samples(source, tokenizer, renderer)

    def _arguments(self) -> None:
        from tenyson.jobs.trainers.training import build_arguments, require_optimizer

        config, kind = self.job.config, self.job.kind
        checkpoints = RunFolder.of(config.run.output_dir, self.job.run_id).checkpoints
        arguments = self._preflight.arguments(config, checkpoints)
        cls = kind.part("trl_config")
        if arguments is None or cls is None:
            return
        self._built = build_arguments(cls, self._as_there(arguments), config, kind)
        if self.memory is None:
            require_optimizer(self._built)

    def _as_there(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Arguments for the checks here, where one process represents all and may have no GPU."""
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size"):
            if isinstance(arguments[name], int):
                arguments[name] *= self.processes
        if self.memory is not None:
            # transformers asks the GPU of this machine whether it can do that.
            arguments.pop("tf32", None)
        return arguments

    def _model(self) -> tuple[ModelSource, Any, Renderer]:
        from tenyson.engines.renderers import open_renderer
        from tenyson.jobs.models.adapter_config import new_adapter
        from tenyson.jobs.models.model import generation_eos, load_tokenizer, resolve_model
        from tenyson.jobs.preflight.fitting import require_fitting

        config = self.job.config
        source = resolve_model(config)
        if self.job.kind.trains:
            with self._refusals("arguments"):
                new_adapter(config, source)
        tokenizer = load_tokenizer(source, trust_remote_code=config.model.trust_remote_code)
        renderer = open_renderer(tokenizer, generation_eos(source), config.model)
        with self._refusals("model"):
            require_fitting(config, source, tokenizer, renderer, self.job.kind)
        return source, tokenizer, renderer

    def _checkpoint(self, source: ModelSource, renderer: Renderer) -> None:
        from tenyson.jobs.checkpoints.resume import locate_checkpoint
        from tenyson.jobs.checkpoints.same_training import require_same_training, training_record
        from tenyson.jobs.models.fingerprint import require_fingerprint
        from tenyson.jobs.trainers.precision import choose_precision

        context, reference = self._context(), self.job.config.training.resume_from_checkpoint
        resumes = reference is not None and self.job.kind.trains
        checkpoint = locate_checkpoint(str(reference), context) if resumes else None
        require_fingerprint(context, source, renderer, checkpoint)
        if checkpoint is not None and self._built is not None and self.processes == 1:
            config = self.job.config
            choose_precision(config, self._built, source, checkpoint)
            record = training_record(config, self.job.kind, self._built, source, context.task_name)
            require_same_training(context, checkpoint, record)

    def _samples(self, source: ModelSource, tokenizer: Any, renderer: Renderer) -> None:
        examined = Examined(
            self.job.kind, self.job.config, self.job.task, source, tokenizer, renderer, self.memory,
            self.processes, self.shown,
        )  # fmt: skip
        try:
            self.findings += self._preflight.samples(examined)
            self.findings += check_task(self.job.task)
        finally:
            self.samples = examined.decoded

    @contextmanager
    def _refusals(self, check: str) -> Iterator[None]:
        """What a job refuses by an exception becomes a finding."""
        try:
            yield
        except TenysonError as error:
            cause = f"{error.place}: {error.cause}" if error.place else error.cause
            self._error(check, cause, error.next_step or "")
        except ImportError as error:
            # Installed and broken: versions that do not go together, most often. What is missing the versions tell.
            if not missing_libraries():
                self._error(
                    check, f"a library cannot be imported: {error}", "pip install 'tenyson-core[train]'"
                )

    def _error(self, check: str, cause: str, next_step: str) -> None:
        self.findings.append(Finding(check, "error", cause, next_step))

    def _context(self) -> JobContext:
        """As the job would have it; what it would say on the way becomes findings too."""
        config, findings = self.job.config, self.findings

        class Listener:
            def emit(self, notice: Any) -> None:
                findings.append(Finding("checkpoint", notice.level, notice.message))

        return JobContext(
            self.job.run_id,
            config,
            self.job.task,
            RunFolder.of(config.run.output_dir, self.job.run_id),
            cast(Any, Listener()),
            Controls(None),
            World(),
            self.job.kind,
        )
