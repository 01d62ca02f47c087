"""How GRPO's replies are generated: by transformers, or by TRL's own vLLM, as the configuration and TRL's arguments say.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trl.models import unwrap_model_for_generation

from tenyson.engines.engine import DRAWN, Reply, Sampling
from tenyson.engines.renderers import Renderer
from tenyson.engines.transformers import KeptTurns, generate_replies
from tenyson.jobs.job import JobContext
from tenyson.tasks.checks import has_agent


class GenerationMixin:
    """For a GRPOTrainer on a task."""

    args: Any
    model_wrapped: Any
    accelerator: Any
    vllm_generation: Any
    use_vllm: bool
    policy: Any
    _dist: Any
    _context: JobContext
    _renderer: Renderer
    _turns: KeptTurns | None

    def sampling(self) -> Sampling:
        """How every rollout is drawn.

        TRL's arguments decide, since `trl` takes precedence over `generation`; `generation` decides what TRL has no argument for.
        """
        configured = Sampling.from_config(self._context.config.generation, self._renderer.stop_token_ids)
        theirs = {name: getattr(self.args, name) for name in DRAWN if hasattr(self.args, name)}
        # What TRL leaves open is off, whatever `generation` says.
        acting = {name: DRAWN[name] if value is None else value for name, value in theirs.items()}
        acting |= {
            "max_new_tokens": self.args.max_completion_length,
            "logprobs": has_agent(self._context.task),
        }
        return replace(configured, **acting)

    def sampling_arguments(self) -> dict[str, Any]:
        """What the engine gets beyond that."""
        engine_args = {} if self.use_vllm or self.policy else self._context.config.engine_args
        found = engine_args | (self.args.generation_kwargs or {})
        if self.args.cache_implementation:
            found["cache_implementation"] = self.args.cache_implementation
        return found

    def _generate_transformers(self, prompts: list[list[int]], turn: int) -> list[Reply]:
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=self.args.ds3_gather_for_generation,
                gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
            ) as model,
            self._dist.summon_full_params(self.model_wrapped, recurse=False),
        ):
            arguments = self.sampling_arguments()
            if self._turns and (turns := self._turns.of(model, arguments, begins=turn == 0)):
                return turns.generate(prompts, self.sampling())
            return generate_replies(model, prompts, self.sampling(), self._renderer.pad_token_id, **arguments)

    def _generate_vllm(self, prompts: list[list[int]], turn: int) -> list[Reply]:  # noqa: ARG002
        _, ids, logprobs, _ = self.vllm_generation.generate(prompts=prompts, images=None, num_generations=1)
        stops = self._renderer.stop_token_ids
        return [
            Reply(
                list(reply), "stop" if reply and reply[-1] in stops else "length", [row[0] for row in scores]
            )
            for reply, scores in zip(ids, logprobs, strict=True)
        ]
