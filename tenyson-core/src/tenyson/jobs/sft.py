"""SFTJob: supervised fine-tuning on a task's conversations, with TRL's SFTTrainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenyson.jobs.data.conversations import Conversations, read_conversations
from tenyson.jobs.job import Job, JobContext, Outcome

if TYPE_CHECKING:
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.preflight.prepare import TrainingRun


class SFTJob(Job):
    """Trains on the assistant messages of a task's SFT samples; all other tokens carry no loss."""

    job_type = "sft"

    def execute(self, context: JobContext) -> Outcome:
        """Load, train, save. Writes adapter/ or model/ in the job folder.

        Raises:
            TaskError: the task has no usable samples.
            ModelError: model, adapter or checkpoint cannot be used.
            ConfigError: an argument for TRL or PEFT does not exist.
        """
        from tenyson.jobs.runtime.quiet import quiet_libraries

        quiet_libraries()
        from tenyson.jobs.trainers.trl_import import import_trainer

        import_trainer("sft_trainer")
        from trl import SFTConfig

        from tenyson.jobs.preflight.prepare import TrainingRun
        from tenyson.jobs.preflight.report import segments, settle
        from tenyson.jobs.preflight.shared_checks import check_sft
        from tenyson.jobs.runtime.refusals import refusals
        from tenyson.jobs.trainers.arguments import sft_arguments
        from tenyson.jobs.trainers.callbacks import SFTTelemetryCallback, eval_loss_callbacks
        from tenyson.jobs.trainers.training import build_arguments

        config = context.config
        arguments = build_arguments(
            SFTConfig, sft_arguments(config, context.folder.checkpoints), config, context.kind
        )
        run = TrainingRun.begin(context, arguments)
        one = run.prepared
        train = self._read(context, one.renderer, "train")
        evaluation = self._read(context, one.renderer, "eval") if config.training.eval_steps else None
        run.find_checkpoint()
        splits = [train, evaluation] if evaluation else [train]
        findings = check_sft(splits, one.renderer, one.tokenizer, config, one.source, job=self.job_type)
        warnings = settle(context, findings, segments(train, one.renderer))
        model = run.load_model()
        self._join_rows(context, run, train, model)
        callbacks = run.callbacks(
            SFTTelemetryCallback(context.telemetry, context.run_id, phase=context.kind.phase)
        )
        with refusals("TRL refuses this training"):
            trainer = self.trainer_class()(
                model=model,
                args=arguments,
                train_dataset=train.dataset(),
                eval_dataset=evaluation.dataset() if evaluation else None,
                processing_class=one.tokenizer,
                peft_config=one.adapter,
                callbacks=[*callbacks, *eval_loss_callbacks(config.training)],
            )
        run.attach(trainer)
        return run.finish(trainer, warnings)

    def _join_rows(self, context: JobContext, run: TrainingRun, train: Conversations, model: Any) -> None:
        from tenyson.jobs.models.dims import find_dims
        from tenyson.jobs.trainers.joining import decide

        if type(self).trainer_class is not SFTJob.trainer_class:  # its loss may need rows of one sample
            return
        arguments, path = run.arguments, run.prepared.source.path
        joining = decide(context.config, arguments, find_dims({"name": path}), train.rows, model)
        if joining.reason:
            context.say(f"rows: {joining.reason}")
        if joining.joined:
            arguments.padding_free = True
        if not arguments.packing:
            # Rows are cut already. TRL would look at each of them again, and refuses a limit that joined rows would not keep.
            arguments.max_length = None

    def trainer_class(self) -> type[Any]:
        """The trainer. A kind of job with a loss of its own returns a subclass of CheckpointedSFTTrainer."""
        from tenyson.jobs.trainers.sft_trainer import CheckpointedSFTTrainer

        return CheckpointedSFTTrainer

    def _read(self, context: JobContext, renderer: Renderer, split: str) -> Conversations:
        return read_conversations(
            context.task,
            renderer,
            split,
            context.config,
            job=self.job_type,
            processes=context.world.size,
            context=context,
        )
