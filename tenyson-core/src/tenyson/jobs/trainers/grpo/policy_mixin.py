"""A trainer whose rollouts come from an engine of ours that follows its weights.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from tenyson.engines.engine import Sampling, request_seed
from tenyson.engines.play import Trajectory
from tenyson.engines.play.independent import play_independently
from tenyson.engines.policy import PolicyEngine, check_policy
from tenyson.engines.renderers import Renderer
from tenyson.jobs.checkpoints.randomness import random_states_kept
from tenyson.jobs.trainers.grpo.further_rows import FurtherRowsMixin
from tenyson.tasks.sample import Sample

TOLERANCE = {"float32": 0.01}
"""Largest mean difference in nats a token between engine and trainer, by the type of the weights."""
ROUNDED = 0.1
"""The same for 16-bit types, which engine and trainer round at different places."""
PROBE_TOKENS = 512
"""Most tokens of the prompt that is compared."""


class PolicyMixin(FurtherRowsMixin):
    """For a GRPOTrainer. Without `follow_with` it changes nothing."""

    policy: PolicyEngine | None = None
    _renderer: Renderer

    def follow_with(self, policy: PolicyEngine, *, dtype: str, corrected: bool) -> None:
        """Take every rollout from `policy`.

        Args:
            dtype: type of the weights of engine and trainer.
            corrected: whether the loss weighs each token by the ratio of the trainer's probability to the engine's
                (TRL's `vllm_importance_sampling_correction`), which costs a further forward pass.
        """
        self.policy = policy
        self.use_vllm = corrected
        self._tolerance = TOLERANCE.get(dtype, ROUNDED)
        self._loaded_step = self._checked_step = -1
        self._trainers_logprobs: torch.Tensor | None = None

    def play_with_policy(
        self,
        samples: Sequence[Sample],
        sampling: Sampling,
        between: Callable[[], None],
    ) -> list[Trajectory]:
        """Bring the engine up to date and play one conversation on each of B samples.

        The seed of a reply follows from the run's seed, the step, the batch, the conversation's place in it and its turn,
        so that a resume draws the same.

        Raises:
            LogprobMismatchError: the engine does not hold the trainer's weights.
        """
        trainer: Any = self
        assert self.policy is not None
        between()
        with random_states_kept():
            self._bring_up_to_date(samples[0])
        seed = (trainer.args.generation_kwargs or {}).get("seed", trainer.args.seed)
        batch = trainer._step if trainer.model.training else -1
        place = (trainer.accelerator.process_index, trainer.state.global_step, batch, samples[0].id)
        [played] = play_independently(
            self._context.task,
            samples,
            self._renderer,
            self.policy,
            replace(sampling, seed=request_seed(seed, *place)),
            max_turns=self._context.config.generation.max_turns,
            batch_size=len(samples),
            between=between,
            limits=trainer.limits(),
        )
        return played

    def _bring_up_to_date(self, sample: Sample) -> None:
        trainer: Any = self
        policy, step = self.policy, trainer.state.global_step
        assert policy is not None
        if self._loaded_step == step:
            policy.refresh()
            return
        model = trainer.accelerator.unwrap_model(trainer.model)
        policy.update(model)
        if self._checked_step < 0 or step - self._checked_step >= self._context.config.training.check_every:
            ids = self._renderer.prompt_ids(sample)[:PROBE_TOKENS]
            check_policy(
                policy, model, ids * 2 if len(ids) == 1 else ids, step=step, tolerance=self._tolerance
            )
            self._checked_step = step
        self._loaded_step = step

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self.policy is not None:
            # TRL's own vLLM, which there is none of, needs no weights.
            self._last_loaded_step = self.state.global_step  # type: ignore[attr-defined]
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return output

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **named: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*arguments, **named)  # type: ignore[misc]
        self._trainers_logprobs = found[0].detach()
        return found

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        """TRL's own; where it does not compare the engine's log-probabilities with the trainer's, they are compared here."""
        loss = super()._compute_loss(model, inputs)  # type: ignore[misc]
        if self.policy is not None and not self.use_vllm and model.training:
            self._note_difference(inputs)
        return loss

    def _note_difference(self, inputs: dict[str, Any]) -> None:
        """Log it under TRL's names. Computed from what the loss has computed already, so it costs nothing."""
        theirs = inputs.get("sampling_per_token_logps")
        ours = inputs.get("old_per_token_logps", self._trainers_logprobs)
        if theirs is None or ours is None:
            return
        mask = inputs["completion_mask"]
        if (tools := inputs.get("tool_mask")) is not None:
            mask = mask * tools
        difference = (ours - theirs).abs()[mask.bool()]
        if not len(difference):  # all of a micro-batch may be left out
            return
        metrics = self._metrics["train"]  # type: ignore[attr-defined]
        metrics["sampling/sampling_logp_difference/mean"].append(difference.mean().item())
        metrics["sampling/sampling_logp_difference/max"].append(difference.max().item())
