"""TRL's GRPOTrainer on a Tenyson task: plays multi-turn games, scores rewards, and records every rollout.

Shape legend: B completions on this process; F reward functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOTrainer

from tenyson.engines.engine import Reply
from tenyson.engines.play import Trajectory, play
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.scoring import Scored, score_all
from tenyson.engines.transformers import KeptTurns
from tenyson.errors import TaskError
from tenyson.jobs.checkpoints.buffer import pack_batches, unpack_batches
from tenyson.jobs.checkpoints.emergency import EmergencyMixin
from tenyson.jobs.checkpoints.randomness import TorchStream, random_states_kept
from tenyson.jobs.checkpoints.reference import MovingReferenceMixin
from tenyson.jobs.data.rollout_records import rollout_event
from tenyson.jobs.data.trl_inputs import dataset_of, reward_function
from tenyson.jobs.job import JobContext
from tenyson.jobs.trainers.diagnosis import Batch, Diagnosis
from tenyson.jobs.trainers.grpo.broken_rollouts import BrokenRolloutsMixin, NothingLeftError
from tenyson.jobs.trainers.grpo.generation import GenerationMixin
from tenyson.jobs.trainers.grpo.left_out import LeftOutMixin
from tenyson.jobs.trainers.grpo.length_groups import LengthGroupsMixin
from tenyson.jobs.trainers.grpo.policy_mixin import PolicyMixin
from tenyson.jobs.trainers.sampler import EpochSampler
from tenyson.tasks.checks import current_samples
from tenyson.tasks.metrics.metric import Metric
from tenyson.tasks.metrics.scoring import rewards_of
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Sample
from tenyson.telemetry.control import Asked
from tenyson.telemetry.events import RolloutFinished

# Equal rewards differ from their mean by rounding alone.
_NO_ADVANTAGE = 1e-6
_ODD = "Correct the task; a rollout may hold any text. A run that has a checkpoint can be resumed."


class RolloutTrainer(
    LeftOutMixin,
    GenerationMixin,
    PolicyMixin,
    BrokenRolloutsMixin,
    LengthGroupsMixin,
    EmergencyMixin,
    MovingReferenceMixin,
    GRPOTrainer,  # type: ignore[misc]
):
    """GRPOTrainer whose prompts, rewards and rollouts are a task's.

    Every rollout is played turn by turn, of one turn or of many, so that one renderer and one set of sampling options hold
    for all of them. With one turn it does what TRL's own generation does, to the bit. Tokens that the environment wrote
    are masked out of the loss.

    Args:
        turns: most replies of one conversation; 1 where the task has no environment.
    """

    def __init__(
        self,
        *,
        context: JobContext,
        renderer: Renderer,
        samples: dict[str, list[Sample]],
        turns: int,
        **arguments: Any,
    ) -> None:
        self._context = context
        self._renderer = renderer
        self._samples = samples
        self._rewards = rewards_of(context.task)
        self._playing: list[Sample] = []
        self._turns = KeptTurns(context.say) if turns > 1 else None
        self.conversations = turns > 1
        self._trajectories: list[Trajectory] = []
        self._recent: list[dict[str, float | None]] = []
        self.rollouts_recorded = 0
        self.diagnosis = Diagnosis()
        super().__init__(
            train_dataset=dataset_of(samples["train"]),
            eval_dataset=dataset_of(samples["eval"]) if samples["eval"] else None,
            reward_funcs=[reward_function(reward) for reward in self._rewards],
            rollout_func=lambda _, trainer: trainer.play_games(),
            **arguments,
        )
        # TRL takes the weights of rewards from its arguments; the task's own hold unless the user set some.
        if self.args.reward_weights is None:
            self.reward_weights = torch.tensor(
                [reward.weight for reward in self._rewards], dtype=torch.float32
            )

    def play_games(self) -> dict[str, Any]:
        """Play the samples of this batch; TRL's `rollout_func` contract."""
        self._trajectories = played = self._play(self._playing, between=self.look_at_stop)
        # One that broke before its first reply, or before its prompt, has one token that counts for nothing.
        blank = [self._renderer.pad_token_id]
        return {
            "prompt_ids": [one.prompt_ids or blank for one in played],
            "completion_ids": [one.completion_ids or blank for one in played],
            "env_mask": [one.mask or [0] for one in played],
            "logprobs": [one.logprobs or [0.0] for one in played] if self.use_vllm or self.policy else None,
        }

    def try_groups(self, number: int) -> list[list[float]]:
        """Play a few groups before training and give their rewards; nothing is recorded, and no random number is used up."""
        group = self.num_generations
        tried = self._current(self._samples["train"][:number])
        samples = [sample for sample in tried for _ in range(group)]
        if self.use_vllm and self.policy is None:
            # vLLM has loaded the base model alone, without an adapter. Noted as TRL does, so that the first step merges no
            # second time: each merge moves the base a little.
            self.vllm_generation.sync_weights()
            self._last_loaded_step = self.state.global_step
        with random_states_kept():
            trajectories = self._play(samples)
            # Several processes would come here differently often.
            heed = self._context.heed_stop if self.args.world_size == 1 else lambda: None
            scored = self._score(trajectories, group, heed)
        if failed := [one.rollout.error for one in scored if one.rollout.error]:
            raise TaskError(failed[0].message, next_step=_ODD)
        totals = [self._total(list(one.components.values())) for one in scored]
        return [totals[start : start + group] for start in range(0, len(totals), group)]

    def last_rewards(self) -> dict[str, Metric]:
        """Means of the reward and its components over the last training batch."""
        columns: dict[str, list[tuple[float, int]]] = {}
        for index, components in enumerate(self._recent):
            for name, value in components.items():
                if value is not None:
                    columns.setdefault(name, []).append((value, index // self.num_generations))
        # Completions of one prompt are alike: the interval is over prompts.
        return {
            name: Metric.mean([value for value, _ in column], [group for _, group in column])
            for name, column in columns.items()
        }

    def own_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Also where GRPO stands between two generations, and the batch that it has not used up."""
        state, tensors = super().own_state()
        if self._batch_failed:
            return state, tensors  # those of the last boundary, whole
        state |= {
            "micro_step": self._step,
            "recent": self._recent,
            "diagnosis": self.diagnosis.state(),
            "broken_batches": self.broken_batches,
        }
        if self._step % (self.args.steps_per_generation * self.num_iterations):
            state["buffer"], batches = pack_batches(self._buffered_inputs)
            tensors = tensors | batches
        return state, tensors

    def restore_own_state(self, state: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Continue in the middle of a generated batch, if the checkpoint was saved there."""
        super().restore_own_state(state, tensors)
        self._step, self._recent = state["micro_step"], state["recent"]
        self.diagnosis.restore(state["diagnosis"])
        self.broken_batches = state.get("broken_batches", 0)
        if "buffer" in state:
            self._buffered_inputs = unpack_batches(state["buffer"], tensors, self.args.device)

    def _get_train_sampler(self, dataset: Dataset | None = None) -> EpochSampler:
        theirs = super()._get_train_sampler(dataset)
        self._sampler = EpochSampler(
            theirs.data_source,
            theirs.mini_repeat_count,
            theirs.batch_size,
            theirs.repeat_count,
            theirs.shuffle,
            theirs.seed,
        )
        return self._sampler

    def _run_epoch(self, **arguments: Any) -> None:
        self._sampler.epoch = arguments["epoch"]
        super()._run_epoch(**arguments)

    def _play(
        self,
        samples: Sequence[Sample],
        between: Callable[[], None] = lambda: None,
    ) -> list[Trajectory]:
        stream = TorchStream()
        generate = self._generate_vllm if self.use_vllm else self._generate_transformers

        def turn_of(prompts: list[list[int]], turn: int) -> list[Reply]:
            between()
            stream.come_back()
            replies = generate(prompts, turn)
            stream.leave()
            return replies

        try:
            if self.policy is not None:
                return self.play_with_policy(samples, self.sampling(), between)
            return play(
                self._context.task,
                samples,
                self._renderer,
                turn_of,
                max_turns=self._context.config.generation.max_turns,
                limits=self.limits(),
            )
        finally:
            stream.come_back()
            if self._turns:
                self._turns.end()

    def _current(self, samples: Sequence[Sample]) -> list[Sample]:
        return current_samples(self._context.task, samples, self._context.world.agree)

    def _total(self, values: Sequence[float | None]) -> float:
        """The weighted sum of F rewards; one that says nothing counts as 0."""
        weights: list[float] = self.reward_weights.tolist()
        return sum(weight * (value or 0.0) for weight, value in zip(weights, values, strict=True))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        training = self.model.training
        pool = self._samples["train" if training else "eval"]
        self._playing = [pool[row["sample_index"]] for row in inputs]
        self._trajectories = []
        with self.making_a_batch():
            if training:
                self._playing = self._current(self._playing)
            while True:
                try:
                    output: dict[str, Any] = super()._generate_and_score_completions(inputs)
                except NothingLeftError:
                    self._record([None] * len(inputs), training)
                    self._require_training(training)
                    self.count_broken()
                    self.again()
                    self.look_at_stop()
                else:
                    break
            self._record(self._advantages, training)
            if training:
                self.count_broken()
        self.leave_out(output)
        return output

    def _require_training(self, training: bool) -> None:
        """Raises: TaskError: an evaluation during training has nothing to measure."""
        if training:
            return
        self.all_failed = True
        errors = [one.rollout.error for one in self._trajectories if one.rollout.error]
        cause = errors[0].message if errors else "a rollout of another process failed"
        raise TaskError(f"each group of an evaluation has a rollout that failed: {cause}", next_step=_ODD)

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]],
    ) -> Any:
        group = self.num_generations if self.model.training else self.num_generations_eval
        stream = TorchStream()
        found = self._score(self._trajectories, group, between=self.look_at_stop)
        stream.come_back()
        for row, trajectory, scored in zip(inputs, self._trajectories, found, strict=True):
            row["rollout"] = trajectory.rollout = scored.rollout
        self.find_broken()
        gathered = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        # TRL leaves such rows out of its baselines and means.
        gathered[self._left_out] = torch.nan
        return gathered

    def _score(
        self, trajectories: Sequence[Trajectory], group: int, between: Callable[[], None] = lambda: None
    ) -> list[Scored]:
        """What the rewards say of B rollouts, each `group` of which are of one prompt."""
        limits = self.limits()
        groups = [place // group for place in range(len(trajectories))]
        return score_all(
            self._rewards, [one.rollout for one in trajectories], groups, limits, between=between
        )

    def _record(self, advantages: Sequence[float | None], training: bool) -> None:
        recent, events = [], []
        broken = self.broken_groups()
        for trajectory, advantage, left_out in zip(
            self._trajectories, advantages, self.is_left_out(), strict=True
        ):
            rollout = trajectory.rollout
            total = None if rollout.error else self._total(list(rollout.rewards.values()))
            dropped = self._why_dropped(rollout, advantage) if training else None
            if left_out:
                advantage = None
                dropped = broken.get(rollout.sample.id, "a rollout of its group failed") if training else None
            recent.append({**rollout.rewards, "reward": total})
            step = self.state.global_step
            event = rollout_event(
                self._context,
                self._renderer,
                trajectory,
                training=training,
                step=step,
                group=f"{step}/{rollout.sample.id}",
                reward=total,
                advantage=advantage,
                dropped=dropped,
            )
            events.append(event)
        self._context.telemetry.emit(*events)
        self.rollouts_recorded += len(recent)
        if training:
            self._recent = recent
            self._look_at(events)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's own; training's numbers are looked at too."""
        training = self.model.training
        super().log(logs, start_time)
        if training:
            self.diagnosis.step(logs)
            self._tell()

    def _look_at(self, events: Sequence[RolloutFinished]) -> None:
        weights = dict(
            zip((reward.name for reward in self._rewards), self.reward_weights.tolist(), strict=True)
        )
        self.diagnosis.batch(Batch.of(events, weights))
        self._tell()

    def _tell(self) -> None:
        for finding in self.diagnosis.pop():
            self._context.say(
                f"diagnosis at step {self.state.global_step}: {finding.check}: {finding.cause}. {finding.next_step}",
                "warning",
            )
            if finding.check in self._context.config.training.pause_on and self._context.world.leads:
                self._context.controls.accept(Asked("pause"))
                self._context.say(
                    "training pauses after this step; `tenyson resume RUN` continues it", "warning"
                )

    def _why_dropped(self, rollout: Rollout, advantage: float | None) -> str | None:
        """Why a rollout carries no gradient: GRPO's loss is its advantage times a ratio, plus `beta` times the KL."""
        if self.mask_truncated_completions and rollout.finish_reason == "length":
            return "truncated, and mask_truncated_completions is set"
        if abs(advantage or 0.0) < _NO_ADVANTAGE and not self.beta:
            return "all rewards of its group are equal"
        return None
