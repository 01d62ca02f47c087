"""EvalJob: plays a task's evaluation samples with an engine and measures the rollouts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

from tenyson.errors import ConfigError, TaskError
from tenyson.jobs.job import Job, JobContext, Outcome
from tenyson.tasks.metric import Metric
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Sample
from tenyson.telemetry.control import Controls
from tenyson.telemetry.events import Event, MetricsLogged, RolloutFinished

PAUSE_SECONDS = 0.2


class EvalJob(Job):
    """Measures a model on a task. All conversations of a batch are played together, turn by turn."""

    job_type = "eval"
    verbs = ("stop", "pause", "resume")

    def execute(self, context: JobContext) -> Outcome:
        """Generate batch by batch, looking for a stop between batches; metrics cover what was processed.

        Raises:
            TaskError: the task has no samples in this split.
            ModelError, EngineError: the model or the engine cannot be used.
        """
        from tenyson.jobs.quiet import quiet_libraries

        quiet_libraries()
        from tenyson.config.passthrough import check_passthrough
        from tenyson.engines.choose import choose_engine, open_engine
        from tenyson.engines.engine import EngineSpec, Sampling
        from tenyson.engines.play import play
        from tenyson.engines.renderer import Renderer
        from tenyson.jobs.generation_defaults import say_defaults, taken_by
        from tenyson.jobs.model import generation_eos, load_tokenizer, resolve_model
        from tenyson.jobs.parity import require_parity
        from tenyson.jobs.preflight.by_job import check_played
        from tenyson.jobs.preflight.report import settle
        from tenyson.jobs.resume import pin_inputs

        config = context.config
        if context.world.size > 1:
            raise ConfigError(
                f"an evaluation runs in one process, and torchrun has started {context.world.size}",
                next_step="Start it without torchrun; the engine uses what the machine has.",
            )
        check_passthrough(config, "eval")
        samples = self._samples(context)
        source = resolve_model(config)
        choice = choose_engine(config.generation.engine, source.path)
        context.say(f"engine {choice.name}: {choice.reason}")
        tokenizer = load_tokenizer(source, trust_remote_code=config.model.trust_remote_code)
        renderer = Renderer(tokenizer, generation_eos(source), config.model.chat_template_kwargs)
        require_parity(context, source, renderer)
        pin_inputs(context, source)
        warnings = settle(context, check_played("eval", samples, context.task, renderer, config, source))
        size = config.evaluation.batch_size
        engine = open_engine(
            choice.name,
            EngineSpec(
                model=source.path,
                revision=source.revision,
                adapter=source.adapter,
                dtype=config.model.dtype,
                trust_remote_code=config.model.trust_remote_code,
                seed=config.run.seed,
                batch_size=size,
                args=config.engine_args,
            ),
        )
        sampling = Sampling.from_config(config.generation, renderer.stop_token_ids)
        unheeded = say_defaults(context, source, choice.name, taken_by(sampling, config.engine_args))
        rewards = list(context.task.rewards())
        rollouts: list[Rollout] = []
        begun = time.monotonic()
        seconds = 0.0
        tokens = 0
        try:
            context.began(0)
            for start in range(0, len(samples), size):
                begun += hold_while_paused(context.controls, len(rollouts), context.say)
                if context.stop.requested:
                    context.stopping(len(rollouts))
                    context.controls.applied("stop", len(rollouts))
                    context.say(
                        f"stopped after {len(rollouts)} of {len(samples)} rollouts: {context.stop.reason}",
                        "warning",
                    )
                    break
                batch = samples[start : start + size]
                seed = config.run.seed * 1_000_003 + start

                def generate(prompts: list[list[int]], turn: int, seed: int = seed) -> Any:
                    return engine.generate(prompts, replace(sampling, seed=(seed + turn * 7919) % 2**32))

                trajectories = play(
                    context.task, batch, renderer, generate, max_turns=config.generation.max_turns
                )
                finished: list[Event] = []
                for trajectory in trajectories:
                    rollout = trajectory.rollout
                    tokens += rollout.tokens
                    components = {reward.name: reward(rollout) for reward in rewards}
                    finished.append(
                        RolloutFinished(
                            run_id=context.run_id,
                            phase="eval",
                            training=False,
                            step=0,
                            sample_id=rollout.sample.id,
                            group=rollout.sample.id,
                            prompt=renderer.raw(trajectory.prompt_ids),
                            completion=renderer.raw(trajectory.completion_ids),
                            reward=sum(
                                reward.weight * (components[reward.name] or 0.0) for reward in rewards
                            ),
                            components=components,
                            finish_reason=rollout.finish_reason,
                            tokens=rollout.tokens,
                            info=rollout.info,
                        )
                    )
                    rollouts.append(rollout)
                seconds = time.monotonic() - begun
                context.telemetry.emit(
                    *finished,
                    MetricsLogged(
                        run_id=context.run_id,
                        phase="eval",
                        step=len(rollouts),
                        total_steps=len(samples),
                        values={
                            "tokens_per_second": tokens / seconds,
                            "rollouts_per_second": len(rollouts) / seconds,
                        },
                    ),
                )
        finally:
            engine.close()
        metrics: dict[str, Metric | float] = dict(context.task.metrics(rollouts))
        early = len(rollouts) < len(samples)
        truncated = Metric.proportion(sum(rollout.truncated for rollout in rollouts), len(rollouts))
        return Outcome(
            metrics={"truncated": truncated, **metrics},
            metadata={
                "engine": choice.name,
                "engine_reason": choice.reason,
                "split": config.evaluation.split,
                "samples": len({rollout.sample.id for rollout in rollouts}),
                "rollouts": len(rollouts),
                # A stop that came with the last batch stopped nothing.
                "stopped_early": early,
                "stop_reason": context.stop.reason if early else None,
                "tokens": tokens,
                "generation_seconds": seconds,
                "fingerprint": renderer.fingerprint(),
                "preflight": warnings,
                "checkpoint_defaults_not_taken": unheeded,
            },
        )

    def _samples(self, context: JobContext) -> list[Sample]:
        evaluation = context.config.evaluation
        found = list(
            islice(context.task.eval_samples(evaluation.split, context.config.run.seed), evaluation.samples)
        )
        if not found:
            raise TaskError(f"the task has no evaluation samples in the split {evaluation.split!r}")
        return [sample for sample in found for _ in range(evaluation.samples_per_prompt)]


def hold_while_paused(controls: Controls, done: int, say: Callable[[str], None]) -> float:
    """Wait until an evaluation is resumed or stopped, `done` rollouts being finished; returns the seconds."""
    if not controls.paused or controls.stop.requested:
        return 0.0
    begun = time.monotonic()
    controls.applied("pause", done)
    say(f"paused after {done} rollouts")
    while controls.paused and not controls.stop.requested:
        time.sleep(PAUSE_SECONDS)
    controls.applied("resume", done)
    say(f"went on after {done} rollouts")
    return time.monotonic() - begun
