"""What every job does before its first step: resolve the model, load the tokenizer, see that they fit; and resume."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.checkpoints.same_training import Changes
    from tenyson.jobs.job import JobContext, Outcome
    from tenyson.jobs.models.model import ModelSource


@dataclass(frozen=True)
class Prepared:
    """What a job works with, before weights are loaded."""

    source: ModelSource
    tokenizer: Any
    renderer: Renderer
    adapter: Any
    """PEFT's configuration of a new adapter; None where all weights are trained, an adapter continues, or nothing is trained."""


def prepare(context: JobContext) -> Prepared:
    """Resolve the model and load its tokenizer.

    Raises:
        ModelError: model, adapter or tokenizer cannot be used, or do not fit each other.
        ConfigError: an argument for PEFT cannot work on this model.
    """
    from tenyson.engines.renderers import open_renderer
    from tenyson.jobs.models.adapter_config import new_adapter, require_same_adapter
    from tenyson.jobs.models.model import generation_eos, load_tokenizer, resolve_model
    from tenyson.jobs.preflight.fitting import require_fitting
    from tenyson.jobs.runtime.interpreter import collect_as_usual

    config, trains = context.config, context.kind.trains
    source = context.world.in_turn(lambda: resolve_model(config))
    if trains:
        require_same_adapter(config, source)
    tokenizer = load_tokenizer(source, trust_remote_code=config.model.trust_remote_code)
    renderer = open_renderer(tokenizer, generation_eos(source), config.model)
    adapter = new_adapter(config, source) if trains else None
    require_fitting(config, source, tokenizer, renderer, context.kind)
    collect_as_usual()
    return Prepared(source, tokenizer, renderer, adapter)


@dataclass
class TrainingRun:
    """One training with a trainer of TRL. Its methods are called in the order in which they are written here."""

    context: JobContext
    arguments: Any
    """TRL's, as `tenyson.jobs.trainers.training.build_arguments` makes them."""
    prepared: Prepared
    resume: Path | None = None
    """The checkpoint that it resumes from."""
    changes: Changes = field(default_factory=dict)
    """Settings that differ from the checkpoint's and were accepted."""
    _record: dict[str, Any] = field(default_factory=dict)
    _control: Any = None

    @classmethod
    def begin(cls, context: JobContext, arguments: Any) -> TrainingRun:
        """Seed the process, and prepare. Raises: ConfigError, ModelError."""
        from transformers import set_seed

        from tenyson.jobs.trainers.training import require_optimizer

        require_optimizer(arguments)
        set_seed(context.config.run.seed)
        return cls(context, arguments, prepare(context))

    def find_checkpoint(self) -> None:
        """Find the checkpoint to resume from, and see that it is of this training. Called once the samples are read.

        Raises: ModelError: it cannot be used, or was written under other settings.
        """
        from tenyson.jobs.checkpoints.resume import find_checkpoint, pin_inputs
        from tenyson.jobs.checkpoints.same_training import require_same_training, training_record
        from tenyson.jobs.models.fingerprint import require_fingerprint
        from tenyson.jobs.trainers.precision import choose_precision

        context, source = self.context, self.prepared.source
        self.resume = find_checkpoint(context)
        if told := choose_precision(context.config, self.arguments, source, self.resume):
            context.say(told)
        self._record = training_record(
            context.config, context.kind, self.arguments, source, context.task_name
        )
        self.changes = require_same_training(context, self.resume, self._record)
        require_fingerprint(context, source, self.prepared.renderer, self.resume)
        pin_inputs(context, source)

    def load_model(self) -> Any:
        """The model, with the adapter that continues, in the type that training takes. Raises: ModelError."""
        from tenyson.jobs.models.model import load_model
        from tenyson.jobs.trainers.arguments import load_dtype

        config = self.context.config
        return load_model(
            self.prepared.source, config.model, dtype=load_dtype(config), trainable_adapter=True
        )

    def callbacks(self, metrics: Any) -> list[Any]:
        """Callbacks that every training has, after `metrics`, which records what the trainer logs."""
        from tenyson.jobs.trainers.callbacks import AttemptTelemetryCallback, ManualStopTelemetryCallback

        context, training = self.context, self.context.config.training
        self._control = ManualStopTelemetryCallback(
            context.controls,
            say=context.say,
            stopping=context.stopping,
            save_minutes=None if training.save_steps else training.save_minutes,
        )
        return [metrics, AttemptTelemetryCallback(context.began, self.resume), self._control]

    def attach(self, trainer: Any) -> None:
        """Give the trainer its checkpoints and controls. Raises: TaskError: the samples do not fill one batch."""
        from transformers import PrinterCallback

        from tenyson.jobs.trainers.training import require_batches

        trainer.keep_checkpoints(
            self.context, self.prepared.renderer.fingerprint(), self._record, self.changes
        )
        self._control.extend = trainer.extend
        trainer.remove_callback(PrinterCallback)
        require_batches(trainer)

    def finish(self, trainer: Any, warnings: list[dict[str, Any]]) -> Outcome:
        """Train, save and sum up. `warnings`: of preflight. Raises: TaskError: not one step could be trained."""
        from tenyson.jobs.trainers.training import save_trained

        output = trainer.resume(self.resume)
        one = self.prepared
        outcome = save_trained(self.context, trainer, one.tokenizer, one.renderer, output.metrics)
        outcome.metadata |= {"preflight": warnings, "accepted_changes": self.changes}
        return outcome
