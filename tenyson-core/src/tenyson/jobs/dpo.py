"""DPOJob: direct preference optimization on a task's pairs of answers, with TRL's DPOTrainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenyson.jobs.data.dpo_pairs import read_preferences
from tenyson.jobs.job import Job, JobContext, Outcome

if TYPE_CHECKING:
    from tenyson.jobs.preflight.prepare import TrainingRun


class DPOJob(Job):
    """Makes chosen answers likelier than rejected ones, relative to the model that the job starts from."""

    job_type = "dpo"

    def execute(self, context: JobContext) -> Outcome:
        """Load, train, save. Writes adapter/ or model/ in the job folder.

        Raises:
            TaskError: the task has no usable preference samples.
            ModelError: model, adapter or checkpoint cannot be used.
            ConfigError: an argument for TRL or PEFT does not exist or cannot work.
        """
        from tenyson.jobs.runtime.quiet import quiet_libraries

        quiet_libraries()
        from tenyson.jobs.trainers.trl_import import import_trainer

        import_trainer("dpo_trainer")
        from trl import DPOConfig

        from tenyson.jobs.preflight.dpo_checks import check_preferences, pair_segments
        from tenyson.jobs.preflight.prepare import TrainingRun
        from tenyson.jobs.preflight.report import settle
        from tenyson.jobs.runtime.refusals import refusals
        from tenyson.jobs.trainers.callbacks import SFTTelemetryCallback, eval_loss_callbacks
        from tenyson.jobs.trainers.dpo_arguments import dpo_arguments
        from tenyson.jobs.trainers.dpo_trainer import CheckpointedDPOTrainer, PreferenceCollator
        from tenyson.jobs.trainers.training import build_arguments

        config = context.config
        arguments = build_arguments(
            DPOConfig, dpo_arguments(config, context.folder.checkpoints), config, context.kind
        )
        run = TrainingRun.begin(context, arguments)
        one = run.prepared
        splits = [
            read_preferences(
                context.task,
                one.renderer,
                split,
                config,
                job=self.job_type,
                processes=context.world.size,
                context=context,
            )
            for split in (("train", "eval") if config.training.eval_steps else ("train",))
        ]
        run.find_checkpoint()
        findings = check_preferences(
            splits, one.renderer, one.tokenizer, config, one.source, job=self.job_type
        )
        warnings = settle(context, findings, pair_segments(splits[0], one.renderer))
        train, evaluation, *_ = *(pairs.dataset() for pairs in splits), None
        metrics = SFTTelemetryCallback(context.telemetry, context.run_id, phase=context.kind.phase)
        with refusals("TRL refuses this training"):
            trainer = CheckpointedDPOTrainer(
                model=run.load_model(),
                ref_model=_reference(run),
                args=arguments,
                data_collator=PreferenceCollator(
                    pad_token_id=one.tokenizer.pad_token_id, pad_to_multiple_of=arguments.pad_to_multiple_of
                ),
                train_dataset=train,
                eval_dataset=evaluation,
                processing_class=one.tokenizer,
                peft_config=one.adapter,
                callbacks=[*run.callbacks(metrics), *eval_loss_callbacks(config.training)],
            )
        run.attach(trainer)
        outcome = run.finish(trainer, warnings)
        outcome.metrics = {**outcome.metrics, **trainer.last_rewards()}
        return outcome


def _reference(run: TrainingRun) -> Any:
    """A second copy of the weights, where all are trained and the reference is needed on the way.

    Under a new adapter TRL takes the base model; for an adapter that is trained further, a frozen copy of it.
    """
    source = run.prepared.source
    if run.prepared.adapter or source.adapter is not None or run.arguments.precompute_ref_log_probs:
        return None
    return run.load_model()
