"""RLJob: GRPO on a task's rewards, with TRL's GRPOTrainer."""

from __future__ import annotations

from contextlib import ExitStack
from copy import deepcopy
from dataclasses import asdict

from tenyson.errors import TaskError
from tenyson.jobs.data.samples import rl_prompts
from tenyson.jobs.job import Job, JobContext, Outcome
from tenyson.tasks.checks import plays_on
from tenyson.tasks.metrics.scoring import rewards_of


class RLJob(Job):
    """Reinforces what a task rewards. Every rollout is recorded with its reward components and advantage."""

    job_type = "rl"

    def execute(self, context: JobContext) -> Outcome:
        """Load, train, save. Writes adapter/ or model/ in the job folder.

        Raises:
            TaskError: the task has no samples or no rewards for RL.
            ModelError: model, adapter or checkpoint cannot be used.
            ConfigError: an argument for TRL or PEFT does not exist or cannot work; a reward compares rollouts of several processes.
        """
        from tenyson.jobs.runtime.quiet import quiet_libraries

        quiet_libraries()
        from tenyson.jobs.preflight.engine import on_gpu, training_engine
        from tenyson.jobs.trainers.trl_import import import_grpo

        config, training = context.config, context.config.training
        engine, reason = training_engine(config, processes=context.world.size)
        # On a GPU it is TRL that starts vLLM; on a CPU its way of replacing weights fails, so the engine is ours.
        trls = engine == "vllm" and on_gpu()
        import_grpo(vllm=trls)
        from trl import GRPOConfig

        from tenyson.jobs.data.rollout_records import broken_metadata
        from tenyson.jobs.models.generation_defaults import say_defaults, taken_by
        from tenyson.jobs.preflight.played.groups import check_groups, check_spread
        from tenyson.jobs.preflight.played.whole_groups import require_whole_groups
        from tenyson.jobs.preflight.prepare import TrainingRun
        from tenyson.jobs.preflight.report import add, settle
        from tenyson.jobs.preflight.shared_checks import check_played
        from tenyson.jobs.runtime.refusals import refusals
        from tenyson.jobs.trainers.arguments import grpo_arguments, load_dtype, trl_vllm_kwargs
        from tenyson.jobs.trainers.callbacks import GRPOEpochTelemetryCallback
        from tenyson.jobs.trainers.grpo.open_policy import corrects, open_policy
        from tenyson.jobs.trainers.rollout_trainer import RolloutTrainer
        from tenyson.jobs.trainers.training import build_arguments

        groups = list(check_groups(config, context.world.size))
        if groups:
            settle(context, groups)
        arguments = build_arguments(
            GRPOConfig,
            grpo_arguments(config, context.folder.checkpoints, vllm=trls),
            config,
            context.kind,
            engine=engine,
        )
        rewards = rewards_of(context.task)
        if not rewards:
            raise TaskError("the task has no rewards", next_step="Implement rewards().")
        require_whole_groups(rewards, arguments, evaluates=bool(training.eval_steps))
        run = TrainingRun.begin(context, arguments)
        one = run.prepared
        context.say(f"engine {engine}: {reason}")
        idle = [f"trl.{name}" for name in config.trl if name.startswith("vllm_")]
        if engine != "vllm" and idle:
            context.say(f"{', '.join(idle)}: no effect with the engine {engine}", "warning")
        train, *others = [
            rl_prompts(
                context.task, config, one.tokenizer, split, processes=context.world.size, context=context
            )
            for split in (("train", "eval") if training.eval_steps else ("train",))
        ]
        run.find_checkpoint()
        remembered = deepcopy(dict(context.task.state()))
        warnings = settle(
            context,
            check_played(
                context.kind,
                train,
                context.task,
                one.renderer,
                config,
                one.source,
                processes=context.world.size,
                # What is resumed has been tried, and its environments may be away for a while.
                tried=run.resume is not None,
            ),
        )
        model = run.load_model()
        # Replies end at the template's end of turn, also where the model's own generation config forgets it.
        stops = list(one.renderer.stop_token_ids)
        model.generation_config.eos_token_id = stops
        if arguments.use_vllm:
            arguments.generation_kwargs = trl_vllm_kwargs(config, arguments.generation_kwargs, stops)
        with refusals("TRL refuses this training"):
            trainer = RolloutTrainer(
                context=context,
                renderer=one.renderer,
                samples={"train": train, "eval": others[0] if others else []},
                turns=config.generation.max_turns if plays_on(context.task, train) else 1,
                model=model,
                args=arguments,
                processing_class=one.tokenizer,
                peft_config=one.adapter,
                callbacks=run.callbacks(
                    GRPOEpochTelemetryCallback(context.telemetry, context.run_id, phase=context.kind.phase)
                ),
            )
            unheeded = say_defaults(
                context, one.source, engine, taken_by(trainer.sampling(), trainer.sampling_arguments())
            )
        with ExitStack() as opened:
            if engine == "vllm" and not trls:
                dtype = "bfloat16" if arguments.bf16 else load_dtype(config)
                policy = open_policy(config, one.source, arguments, dtype)
                opened.callback(policy.close)
                trainer.follow_with(policy, dtype=dtype, corrected=corrects(config, dtype))
            run.attach(trainer)
            if run.resume is None and training.preflight_groups:
                for finding in check_spread(trainer.try_groups(training.preflight_groups)):
                    add(context, finding, warnings)
            # What was tried before training is no part of what the task has seen.
            context.task.restore(remembered)
            outcome = run.finish(trainer, warnings)
        outcome.metrics = {**outcome.metrics, **trainer.last_rewards()}
        outcome.metadata |= {"engine": engine, "engine_reason": reason, "rollouts": trainer.rollouts_recorded}
        outcome.metadata |= {
            "checkpoint_defaults_not_taken": unheeded,
            "diagnosis": [asdict(one) for one in trainer.diagnosis.findings],
            **broken_metadata(trainer.broken or []),
        }
        return outcome
