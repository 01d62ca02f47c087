"""SFTJob: supervised fine-tuning on a task's conversations, with TRL's SFTTrainer."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
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
        from tenyson.jobs.quiet import quiet_libraries

        quiet_libraries()
        from transformers import EarlyStoppingCallback, PrinterCallback, set_seed
        from trl import SFTConfig

        from tenyson.engines.renderer import Renderer
        from tenyson.jobs.arguments import load_dtype, sft_arguments
        from tenyson.jobs.callbacks import (
            AttemptTelemetryCallback,
            ManualStopTelemetryCallback,
            SFTTelemetryCallback,
        )
        from tenyson.jobs.model import generation_eos, load_model, load_tokenizer, resolve_model
        from tenyson.jobs.parity import require_parity
        from tenyson.jobs.resume import find_checkpoint
        from tenyson.jobs.sft_trainer import CheckpointedSFTTrainer
        from tenyson.jobs.target import TargetLossCallback
        from tenyson.jobs.training import build_arguments, new_adapter, save_trained

        config, training = context.config, context.config.training
        arguments = build_arguments(
            SFTConfig, sft_arguments(config, context.folder.checkpoints), config, "sft"
        )
        set_seed(config.run.seed)
        source = context.world.in_turn(lambda: resolve_model(config))
        tokenizer = load_tokenizer(source, trust_remote_code=config.model.trust_remote_code)
        renderer = Renderer(tokenizer, generation_eos(source))
        train = self._dataset(context, renderer, "train", training.samples)
        evaluation = (
            self._dataset(context, renderer, "eval", training.eval_samples) if training.eval_steps else None
        )
        resume = find_checkpoint(context)
        require_parity(context, source, renderer, resume)
        model = load_model(source, config.model, dtype=load_dtype(config), trainable_adapter=True)

        control = ManualStopTelemetryCallback(context.controls, say=context.say, stopping=context.stopping)
        callbacks: list[Any] = [
            SFTTelemetryCallback(context.telemetry, context.run_id),
            AttemptTelemetryCallback(context.began, resume),
            control,
        ]
        if training.early_stopping_patience is not None:
            callbacks.append(
                EarlyStoppingCallback(training.early_stopping_patience, training.early_stopping_min_delta)
            )
        if training.target_eval_loss is not None:
            callbacks.append(TargetLossCallback(training.target_eval_loss))
        trainer = CheckpointedSFTTrainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=evaluation,
            processing_class=tokenizer,
            peft_config=new_adapter(config, source),
            callbacks=callbacks,
        )
        trainer.keep_checkpoints(context, renderer.fingerprint())
        control.extend = trainer.extend
        trainer.remove_callback(PrinterCallback)
        output = trainer.resume(resume)
        return save_trained(context, trainer, tokenizer, renderer, output.metrics)

    def _dataset(self, context: JobContext, renderer: Renderer, split: str, limit: int | None) -> Any:
        """Rows of input_ids and labels, each at most training.max_length ids long; says what was cut or dropped."""
        from datasets import Dataset

        seed, longest = context.config.run.seed, context.config.training.max_length
        rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
        counts: Counter[str] = Counter()
        for sample in islice(context.task.sft_samples(split, seed), limit):
            counts["samples"] += 1
            ids, mask = renderer.conversation(sample)
            if longest is not None and len(ids) > longest:
                counts["cut"] += 1
                ids, mask = ids[:longest], mask[:longest]
            if not any(mask):
                counts["dropped"] += 1
                continue
            rows["input_ids"].append(ids)
            rows["labels"].append([token if learn else -100 for token, learn in zip(ids, mask, strict=True)])
        if not rows["input_ids"]:
            raise TaskError(
                f"no sample of the SFT split {split!r} can be trained on: {counts['samples']} samples, "
                f"{counts['dropped']} of them with nothing to learn within {longest} tokens",
                next_step="Raise training.max_length, or check the task's sft_samples.",
            )
        if counts["cut"]:
            context.say(
                f"{counts['cut']} of {counts['samples']} {split} samples are longer than training.max_length = {longest} "
                f"and were cut, so their last reply does not end; {counts['dropped']} had nothing left to learn and were dropped",
                "warning",
            )
        return Dataset.from_dict(rows)
