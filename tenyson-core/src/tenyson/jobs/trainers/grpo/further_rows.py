"""Further rows: an agent's rollout may hold several conversations, and each of them is trained on with the rollout's advantage.

Imports torch: import this module only inside a job.

Shape legend: B rollouts on this process; E further rows, those that fill up among them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.rollout import Trajectory
from tenyson.engines.rollouts.tokens import Tokens
from tenyson.jobs.job import JobContext
from tenyson.jobs.runtime.world import largest

ROW_MEANS = ("grpo", "sapo", "luspo", "dr_grpo")
"""Losses that are means over rows, so that rows which only fill up would make them smaller. The others are means over tokens."""


class FurtherRowsMixin:
    """For a GRPOTrainer. It changes nothing where every rollout is one conversation.

    A further conversation is a row of its own: of a loss that is a mean over tokens (TRL's default, `dapo`), every token that
    the model wrote in a rollout counts alike, whichever conversation it is in.
    """

    _context: JobContext
    _trajectories: list[Trajectory]
    _advantages: list[float]
    """Of the B rollouts."""
    _owners: list[int]
    """Which of the B rollouts each of the E rows belongs to; -1 for one that fills up."""

    def limits(self) -> Limits:
        """Of rollouts."""
        context = getattr(self.model.config, "max_position_embeddings", None)  # type: ignore[attr-defined]
        return replace(Limits.from_config(self._context.config), context=context)

    def _generate(self, prompts: list[Any]) -> Any:
        """TRL's own, and the further rows after the B that it knows of."""
        prompt_ids, completion_ids, mask, *kept, logprobs, extra, images, tool_images = super()._generate(  # type: ignore[misc]
            prompts
        )
        rows = self._further()
        if rows:
            prompt_ids = prompt_ids + [row.prompt_ids for row in rows]
            completion_ids = completion_ids + [row.completion_ids for row in rows]
            mask = mask + [row.mask for row in rows]
            if logprobs is not None:
                logprobs = logprobs + [row.logprobs for row in rows]
            self._count(rows)
        return (prompt_ids, completion_ids, mask, *kept, logprobs, extra, images, tool_images)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        own = output["advantages"]
        self._advantages = own.tolist()
        if self._owners:
            output["advantages"] = self.with_further(own) * self._share(len(own))
        return output

    def with_further(self, values: torch.Tensor) -> torch.Tensor:
        """What holds of the B rollouts, for all B + E rows; 0 for those that fill up."""
        owners = torch.tensor(self._owners, device=values.device, dtype=torch.long)
        return torch.cat([values, values[owners.clamp(min=0)] * (owners >= 0)])

    def _further(self) -> list[Tokens]:
        """The E rows. All processes have as many, and they can be split over the steps of a generation."""
        trainer: Any = self
        self._owners = []
        if not trainer.model.training:
            return []
        found = [(owner, row) for owner, one in enumerate(self._trajectories) for row in one.further]
        [most] = largest([len(found)])
        if not most:
            return []
        steps = trainer.args.steps_per_generation
        most = -(-most // steps) * steps
        pad = trainer._tokenizer.pad_token_id
        filling = Tokens([pad], [pad], [0], [0.0])
        self._owners = [owner for owner, _ in found] + [-1] * (most - len(found))
        return [row for _, row in found] + [filling] * (most - len(found))

    def _share(self, rollouts: int) -> float:
        """All rows to those that do not only fill up, where the loss is a mean over rows; else 1.

        Where rows are left out, so are those that fill up, and nothing makes up for them here.
        """
        trainer: Any = self
        if trainer.loss_type not in ROW_MEANS or trainer.leaves_out:
            return 1.0
        rows = rollouts + len(self._owners)
        filled = torch.tensor([rollouts + sum(owner >= 0 for owner in self._owners)])
        real = trainer.accelerator.gather(filled.to(trainer.accelerator.device)).sum().item()
        return float(rows * trainer.accelerator.num_processes / real)

    def _count(self, rows: list[Tokens]) -> None:
        trainer: Any = self
        real = [row for row, owner in zip(rows, self._owners, strict=True) if owner >= 0]
        tokens = sum(len(row.prompt_ids) + row.written for row in real)
        counts = torch.tensor([tokens, len(real)], device=trainer.accelerator.device)
        tokens, further = trainer.accelerator.gather(counts).view(-1, 2).sum(dim=0).tolist()
        trainer.state.num_input_tokens_seen += tokens
        trainer._metrics["train"]["num_tokens"] = [trainer.state.num_input_tokens_seen]
        trainer._metrics["train"]["rollouts/further_conversations"].append(further)
