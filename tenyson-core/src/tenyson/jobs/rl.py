"""RLJob: GRPO on a task's rewards, with TRL's GRPOTrainer."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict

from tenyson.errors import TaskError
from tenyson.jobs.data.samples import rl_prompts
from tenyson.jobs.job import Job, JobContext, Outcome
from tenyson.tasks.scoring import rewards_of


class RLJob(Job):
    """Reinforces what a task rewards. Every rollout is recorded with its reward components and advantage."""

    job_type = "rl"

    def execute(self, context: JobContext) -> Outcome:
        """Load, train, save. Writes adapter/ or model/ in the job folder.

        Raises:
            TaskError: the task has no samples or no rewards for RL.
            ModelError: model, adapter or checkpoint cannot be used.
            ConfigError: an argument for TRL or PEFT does not exist or cannot work.
        """
        from tenyson.jobs.runtime.quiet import quiet_libraries

        quiet_libraries()
        from tenyson.jobs.preflight.engine import training_engine
        from tenyson.jobs.trainers.trl_import import import_grpo

        config, training = context.config, context.config.training
        engine, reason = training_engine(config.generation.engine)
        import_grpo(vllm=engine == "vllm")
        from transformers import PrinterCallback, set_seed
        from trl import GRPOConfig

        from tenyson.engines.renderer import Renderer
        from tenyson.jobs.checkpoints.resume import find_checkpoint, pin_inputs
        from tenyson.jobs.checkpoints.same_training import require_same_training, training_record
        from tenyson.jobs.models.adapter_config import new_adapter, require_same_adapter
        from tenyson.jobs.models.fingerprint import require_fingerprint
        from tenyson.jobs.models.generation_defaults import say_defaults, taken_by
        from tenyson.jobs.models.model import (
            generation_eos,
            load_model,
            load_tokenizer,
            resolve_model,
        )
        from tenyson.jobs.preflight.by_job import check_played
        from tenyson.jobs.preflight.fitting import require_fitting
        from tenyson.jobs.preflight.prompts import check_groups, check_spread
        from tenyson.jobs.preflight.report import add, settle
        from tenyson.jobs.runtime.refusals import refusals
        from tenyson.jobs.trainers.arguments import grpo_arguments, load_dtype
        from tenyson.jobs.trainers.callbacks import (
            AttemptTelemetryCallback,
            GRPOEpochTelemetryCallback,
            ManualStopTelemetryCallback,
        )
        from tenyson.jobs.trainers.rollout_trainer import RolloutTrainer
        from tenyson.jobs.trainers.training import (
            build_arguments,
            require_batches,
            require_optimizer,
            save_trained,
        )

        context.say(f"engine {engine}: {reason}")
        idle = [f"trl.{name}" for name in config.trl if name.startswith("vllm_")]
        if engine != "vllm" and idle:
            context.say(f"{', '.join(idle)}: no effect with the engine {engine}", "warning")
        groups = list(check_groups(config, context.world.size))
        if groups:
            settle(context, groups)
        arguments = build_arguments(
            GRPOConfig,
            grpo_arguments(config, context.folder.checkpoints, vllm=engine == "vllm"),
            config,
            context.kind,
            engine=engine,
        )
        if not rewards_of(context.task):
            raise TaskError("the task has no rewards", next_step="Implement rewards().")
        require_optimizer(arguments)
        set_seed(config.run.seed)
        source = context.world.in_turn(lambda: resolve_model(config))
        require_same_adapter(config, source)
        tokenizer = load_tokenizer(source, trust_remote_code=config.model.trust_remote_code)
        renderer = Renderer(tokenizer, generation_eos(source), config.model.chat_template_kwargs)
        adapter = new_adapter(config, source)
        require_fitting(config, source, tokenizer, renderer, context.kind)
        train, *others = [
            rl_prompts(context.task, config, tokenizer, split, processes=context.world.size, context=context)
            for split in (("train", "eval") if training.eval_steps else ("train",))
        ]
        resume = find_checkpoint(context)
        record = training_record(config, context.kind, arguments, source, context.task_name)
        changes = require_same_training(context, resume, record)
        require_fingerprint(context, source, renderer, resume)
        pin_inputs(context, source)
        remembered = deepcopy(dict(context.task.state()))
        warnings = settle(
            context,
            check_played(
                context.kind, train, context.task, renderer, config, source, processes=context.world.size
            ),
        )
        model = load_model(source, config.model, dtype=load_dtype(config), trainable_adapter=True)
        # Replies end at the template's end of turn, also where the model's own generation config forgets it.
        stops = list(renderer.stop_token_ids)
        model.generation_config.eos_token_id = stops
        if arguments.use_vllm:  # which does not see this model's generation config
            arguments.generation_kwargs = {
                **(arguments.generation_kwargs or {}),
                "stop_token_ids": stops,
                "ignore_eos": True,
            }
        control = ManualStopTelemetryCallback(
            context.controls,
            say=context.say,
            stopping=context.stopping,
            save_minutes=None if training.save_steps else training.save_minutes,
        )
        with refusals("TRL refuses this training"):
            trainer = RolloutTrainer(
                context=context,
                renderer=renderer,
                samples={"train": train, "eval": others[0] if others else []},
                model=model,
                args=arguments,
                processing_class=tokenizer,
                peft_config=adapter,
                callbacks=[
                    GRPOEpochTelemetryCallback(context.telemetry, context.run_id, phase=context.kind.phase),
                    AttemptTelemetryCallback(context.began, resume),
                    control,
                ],
            )
            unheeded = say_defaults(
                context, source, engine, taken_by(trainer.sampling(), trainer.sampling_arguments())
            )
        trainer.keep_checkpoints(context, renderer.fingerprint(), record, changes)
        control.extend = trainer.extend
        trainer.remove_callback(PrinterCallback)
        require_batches(trainer)
        if resume is None and training.preflight_groups:
            for finding in check_spread(trainer.try_groups(training.preflight_groups)):
                add(context, finding, warnings)
        # What was tried before training is no part of what the task has seen.
        context.task.restore(remembered)
        output = trainer.resume(resume)
        outcome = save_trained(context, trainer, tokenizer, renderer, output.metrics)
        outcome.metrics = {**outcome.metrics, **trainer.last_rewards()}
        outcome.metadata |= {"engine": engine, "engine_reason": reason, "rollouts": trainer.rollouts_recorded}
        outcome.metadata |= {
            "preflight": warnings,
            "accepted_changes": changes,
            "checkpoint_defaults_not_taken": unheeded,
            "diagnosis": [asdict(one) for one in trainer.diagnosis.findings],
        }
        return outcome
