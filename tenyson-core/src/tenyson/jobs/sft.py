"""SFTJob: supervised fine-tuning on a task's conversations, with TRL's SFTTrainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenyson.jobs.data.conversations import Conversations, read_conversations
from tenyson.jobs.job import Job, JobContext, Outcome

if TYPE_CHECKING:
    from tenyson.engines.renderer import Renderer


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
        from transformers import EarlyStoppingCallback, PrinterCallback, set_seed
        from trl import SFTConfig

        from tenyson.engines.renderer import Renderer
        from tenyson.jobs.checkpoints.resume import find_checkpoint, pin_inputs
        from tenyson.jobs.checkpoints.same_training import require_same_training, training_record
        from tenyson.jobs.models.adapter_config import new_adapter, require_same_adapter
        from tenyson.jobs.models.fingerprint import require_fingerprint
        from tenyson.jobs.models.model import generation_eos, load_model, load_tokenizer, resolve_model
        from tenyson.jobs.preflight.by_job import check_sft
        from tenyson.jobs.preflight.fitting import require_fitting
        from tenyson.jobs.preflight.report import segments, settle
        from tenyson.jobs.runtime.refusals import refusals
        from tenyson.jobs.trainers.arguments import load_dtype, sft_arguments
        from tenyson.jobs.trainers.callbacks import (
            AttemptTelemetryCallback,
            ManualStopTelemetryCallback,
            SFTTelemetryCallback,
        )
        from tenyson.jobs.trainers.sft_trainer import CheckpointedSFTTrainer
        from tenyson.jobs.trainers.target import TargetLossCallback
        from tenyson.jobs.trainers.training import (
            build_arguments,
            require_batches,
            require_optimizer,
            save_trained,
        )

        config, training = context.config, context.config.training
        arguments = build_arguments(
            SFTConfig, sft_arguments(config, context.folder.checkpoints), config, context.kind
        )
        require_optimizer(arguments)
        set_seed(config.run.seed)
        source = context.world.in_turn(lambda: resolve_model(config))
        require_same_adapter(config, source)
        tokenizer = load_tokenizer(source, trust_remote_code=config.model.trust_remote_code)
        renderer = Renderer(tokenizer, generation_eos(source), config.model.chat_template_kwargs)
        adapter = new_adapter(config, source)
        require_fitting(config, source, tokenizer, renderer, context.kind)
        train = self._read(context, renderer, "train")
        evaluation = self._read(context, renderer, "eval") if training.eval_steps else None
        resume = find_checkpoint(context)
        record = training_record(config, context.kind, arguments, source, context.task_name)
        changes = require_same_training(context, resume, record)
        require_fingerprint(context, source, renderer, resume)
        pin_inputs(context, source)
        splits = [train, evaluation] if evaluation else [train]
        findings = check_sft(splits, renderer, tokenizer, config, source)
        warnings = settle(context, findings, segments(train, renderer))
        model = load_model(source, config.model, dtype=load_dtype(config), trainable_adapter=True)

        control = ManualStopTelemetryCallback(
            context.controls,
            say=context.say,
            stopping=context.stopping,
            save_minutes=None if training.save_steps else training.save_minutes,
        )
        callbacks: list[Any] = [
            SFTTelemetryCallback(context.telemetry, context.run_id, phase=context.kind.phase),
            AttemptTelemetryCallback(context.began, resume),
            control,
        ]
        if training.early_stopping_patience is not None:
            callbacks.append(
                EarlyStoppingCallback(training.early_stopping_patience, training.early_stopping_min_delta)
            )
        if training.target_eval_loss is not None:
            callbacks.append(TargetLossCallback(training.target_eval_loss))
        with refusals("TRL refuses this training"):
            trainer = CheckpointedSFTTrainer(
                model=model,
                args=arguments,
                train_dataset=train.dataset(),
                eval_dataset=evaluation.dataset() if evaluation else None,
                processing_class=tokenizer,
                peft_config=adapter,
                callbacks=callbacks,
            )
        trainer.keep_checkpoints(context, renderer.fingerprint(), record, changes)
        control.extend = trainer.extend
        trainer.remove_callback(PrinterCallback)
        require_batches(trainer)
        output = trainer.resume(resume)
        outcome = save_trained(context, trainer, tokenizer, renderer, output.metrics)
        outcome.metadata |= {"preflight": warnings, "accepted_changes": changes}
        return outcome

    def _read(self, context: JobContext, renderer: Renderer, split: str) -> Conversations:
        return read_conversations(
            context.task,
            renderer,
            split,
            context.config,
            processes=context.world.size,
            context=context,
        )
