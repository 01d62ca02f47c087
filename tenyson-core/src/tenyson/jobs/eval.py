"""EvalJob: plays a task's evaluation samples with an engine and measures the rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from tenyson.errors import ConfigError
from tenyson.jobs.data.samples import eval_prompts
from tenyson.jobs.job import Job, JobContext, Outcome
from tenyson.jobs.runtime.pause import hold_while_paused
from tenyson.tasks.checks import has_agent, plays_on
from tenyson.tasks.metrics.scoring import rewards_of
from tenyson.tasks.sample import Sample

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.chat.chat_engine import ChatEngine
    from tenyson.engines.engine import Engine, Sampling
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.data.measurement import Measurement
    from tenyson.jobs.models.model import ModelSource
    from tenyson.jobs.preflight.prepare import Prepared
    from tenyson.tasks.reward import Reward


@dataclass(frozen=True)
class _Evaluation:
    """What an evaluation plays, and how."""

    prepared: Prepared | None
    """None where the engine takes messages, so that no model is loaded here."""
    renderer: Renderer
    samples: Sequence[Sample]
    sampling: Sampling
    engine: str
    context: int | None
    """Tokens that the model can read at once; None where nobody knows."""
    turns: int
    """Most replies of one conversation; 1 where the task has no environment."""
    about: dict[str, Any]
    """Goes into the metadata of the results."""


class EvalJob(Job):
    """Measures a model on a task. Many conversations are played together, independently where the engine can do that."""

    job_type = "eval"

    def execute(self, context: JobContext) -> Outcome:
        """Generate batch by batch, looking for a stop between batches; metrics cover what was processed.

        Raises:
            TaskError: the task has no samples in this split, or some of its rollouts or metrics failed; what the others
                measured is kept.
            ModelError, EngineError, EndpointError: the model or the engine cannot be used.
        """
        from tenyson.engines.choose import is_chat_engine
        from tenyson.jobs.data.measurement import Measurement
        from tenyson.jobs.runtime.quiet import quiet_libraries

        config = context.config
        chats = is_chat_engine(config.generation.engine)
        if not chats:
            quiet_libraries()
        rewards = self._require_possible(context)
        evaluation = self._prepare_chat(context) if chats else self._prepare(context)
        engine = self._open(evaluation, context)
        measurement = Measurement(context, evaluation.renderer, rewards, total=len(evaluation.samples))
        if chats:
            measurement.asked = cast("ChatEngine", engine).report

        self.leftover = lambda: measurement.outcome(evaluation.about)
        try:
            self._measure(measurement, evaluation, engine)
        finally:
            engine.close()
        outcome = measurement.outcome(evaluation.about)
        measurement.require_enough()
        return outcome

    def _require_possible(self, context: JobContext) -> Sequence[Reward]:
        """Refuse what needs no model to be seen; returns the task's rewards. Raises: ConfigError, TaskError."""
        from tenyson.config.checks.passthrough import check_passthrough

        if context.world.size > 1:
            raise ConfigError(
                f"an evaluation runs in one process, and torchrun has started {context.world.size}",
                next_step="Start it without torchrun; the engine uses what the machine has.",
            )
        check_passthrough(context.config, context.kind)
        return rewards_of(context.task)

    def _prepare(self, context: JobContext) -> _Evaluation:
        """Choose the engine, read the samples, and check everything that can be checked before weights are loaded."""
        from tenyson.config.checks.passthrough import check_passthrough
        from tenyson.engines.choose import choose_engine
        from tenyson.engines.engine import Sampling
        from tenyson.jobs.checkpoints.resume import pin_inputs
        from tenyson.jobs.models.fingerprint import require_fingerprint
        from tenyson.jobs.models.generation_defaults import say_defaults, taken_by
        from tenyson.jobs.preflight.prepare import prepare
        from tenyson.jobs.preflight.report import settle
        from tenyson.jobs.preflight.shared_checks import check_played

        config, kind = context.config, context.kind
        one = prepare(context)
        choice = choose_engine(config.generation.engine, one.source.path, config.model.load_args)
        context.say(f"engine {choice.name}: {choice.reason}")
        check_passthrough(config, kind, engine=choice.name)
        prompts = eval_prompts(context.task, config, one.tokenizer, context=context)
        sampling = replace(
            Sampling.from_config(config.generation, one.renderer.stop_token_ids),
            logprobs=has_agent(context.task),
        )
        samples = self._repeated(context, prompts, sampling)
        require_fingerprint(context, one.source, one.renderer)
        pin_inputs(context, one.source)
        warnings = settle(
            context, check_played(kind, samples, context.task, one.renderer, config, one.source)
        )
        unheeded = say_defaults(context, one.source, choice.name, taken_by(sampling, config.engine_args))
        about = {
            "engine": choice.name,
            "engine_reason": choice.reason,
            "split": config.evaluation.split,
            "fingerprint": one.renderer.fingerprint(),
            "preflight": warnings,
            "checkpoint_defaults_not_taken": unheeded,
        }
        turns = config.generation.max_turns if plays_on(context.task, samples) else 1
        context_length = self._context_length(one.source, config)
        return _Evaluation(one, one.renderer, samples, sampling, choice.name, context_length, turns, about)

    def _context_length(self, source: ModelSource, config: Config) -> int | None:
        from tenyson.jobs.models.memory import engine_limit
        from tenyson.jobs.models.model import context_length

        limits = context_length(source), engine_limit(config.engine_args, config.trl)
        return min(filter(None, limits), default=None)

    def _prepare_chat(self, context: JobContext) -> _Evaluation:
        """Read the samples, for an engine that takes messages and needs no tokenizer."""
        from tenyson.engines.chat.chat_renderer import ChatRenderer
        from tenyson.engines.engine import Sampling
        from tenyson.jobs.preflight.endpoint import check_chat, require_no_agent
        from tenyson.jobs.preflight.report import settle

        config = context.config
        require_no_agent(context.task, config)
        # No two replies of an endpoint need be the same, at temperature 0 neither.
        times = config.evaluation.samples_per_prompt
        prompts = eval_prompts(context.task, config, None, context=context)
        samples = [sample for sample in prompts for _ in range(times)]
        about = {
            "engine": config.generation.engine,
            "engine_reason": "the configuration names it",
            "split": config.evaluation.split,
            "preflight": settle(context, check_chat(context.task, samples, config)),
        }
        sampling, renderer = Sampling.from_config(config.generation, ()), cast("Renderer", ChatRenderer())
        turns = config.generation.max_turns if plays_on(context.task, samples) else 1
        return _Evaluation(None, renderer, samples, sampling, config.generation.engine, None, turns, about)

    def _open(self, evaluation: _Evaluation, context: JobContext) -> Engine | ChatEngine:
        from tenyson.engines.choose import open_engine
        from tenyson.engines.engine import EngineSpec
        from tenyson.jobs.models.model import explained

        config = context.config
        if evaluation.prepared is None:
            from tenyson.jobs.preflight.endpoint import open_chat_engine, said_of

            chat = open_chat_engine(config, lambda line: context.say(line, "warning"), context.heed_stop)
            context.say(said_of(chat))
            return chat
        name, source = evaluation.engine, evaluation.prepared.source
        spec = EngineSpec(
            model=source.path,
            revision=source.revision,
            adapter=source.adapter,
            dtype=config.model.dtype,
            trust_remote_code=config.model.trust_remote_code,
            attn_implementation=config.model.attn_implementation,
            load_args=config.model.load_args,
            seed=config.run.seed,
            batch_size=config.evaluation.batch_size,
            args=config.engine_args,
        )
        # Of transformers, a fault of the model's files; what a machine lacks, other engines say themselves.
        with explained(source.path, () if name == "transformers" else (Exception,)):
            return open_engine(name, spec)

    def _measure(
        self, measurement: Measurement, evaluation: _Evaluation, engine: Engine | ChatEngine
    ) -> None:
        """Play batch after batch, until they are done or somebody stops it."""
        from tenyson.engines.play.batches import play_batches
        from tenyson.engines.rollouts.limits import Limits

        context = measurement.context
        config, samples = context.config, evaluation.samples
        size = self._batch_size(measurement, samples)

        def between() -> None:
            if context.stop.requested:
                raise _BatchDroppedError

        batches = play_batches(
            context.task,
            samples,
            measurement.renderer,
            engine,
            replace(evaluation.sampling, seed=config.run.seed),
            max_turns=config.generation.max_turns,
            batch_size=size,
            between=between,
            limits=replace(Limits.from_config(config), context=evaluation.context),
        )
        context.began(0)
        with closing(batches):
            for _ in range(0, len(samples), size):
                measurement.paused += hold_while_paused(context.controls, measurement.done, context.say)
                if context.stop.requested:
                    self._stop(measurement, len(samples))
                    return
                try:
                    measurement.take(next(batches), between)
                except _BatchDroppedError:
                    self._stop(measurement, len(samples))
                    return

    def _batch_size(self, measurement: Measurement, samples: Sequence[Sample]) -> int:
        """As configured; less where a reward compares the rollouts of a sample, which then stay in one batch.

        Raises: ConfigError: they do not fit into one.
        """
        context = measurement.context
        size = context.config.evaluation.batch_size
        together = [reward.name for reward in measurement.rewards if reward.group]
        if not together:
            return size
        times = sum(one is samples[0] for one in samples)
        if times > size:
            raise ConfigError(
                f"the reward {together[0]} compares the {times} rollouts of a sample, and evaluation.batch_size is {size}",
                next_step=f"Set evaluation.batch_size to at least {times}, or lower evaluation.samples_per_prompt.",
            )
        whole = size - size % times
        if whole < min(size, len(samples)):
            context.say(
                f"batches of {whole} rollouts instead of {size}: the reward {together[0]} compares the {times} rollouts of a sample"
            )
        return whole

    def _stop(self, measurement: Measurement, total: int) -> None:
        context = measurement.context
        context.stopping(measurement.done)
        context.controls.applied("stop", measurement.done)
        context.say(
            f"stopped after {measurement.done} of {total} rollouts: {context.stop.reason}",
            "warning",
        )

    def _repeated(self, context: JobContext, prompts: Sequence[Sample], sampling: Sampling) -> list[Sample]:
        """Each prompt as often as it is to be played; once where all its rollouts would be one."""
        times = context.config.evaluation.samples_per_prompt
        if times > 1 and sampling.greedy:
            context.say(
                f"generation is greedy (temperature 0, or one token to choose from), so {times} rollouts of a sample would be one: "
                f"each of {len(prompts)} samples is played once. Raise generation.temperature for evaluation.samples_per_prompt",
                "warning",
            )
            times = 1
        return [sample for sample in prompts for _ in range(times)]


class _BatchDroppedError(Exception):
    """A stop was asked for between two replies: the conversations of this batch are not counted, whichever had ended."""
