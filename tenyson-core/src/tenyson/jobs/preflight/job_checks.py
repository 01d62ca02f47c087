"""Which checks each kind of job gets, beside those of its model, its checkpoint and its machine."""

# ruff: noqa: ARG002  (a base class names the arguments that its subclasses get)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
from tenyson.jobs.data.samples import eval_prompts, rl_prompts
from tenyson.jobs.preflight.played.groups import check_groups
from tenyson.jobs.preflight.report import Segments, segments
from tenyson.jobs.preflight.shared_checks import check_played, check_sft
from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.metrics.scoring import rewards_of

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.models.model import ModelSource
    from tenyson.plugins.job_kind import JobKind
    from tenyson.tasks.plugin import TaskPlugin
    from tenyson.tasks.sample import Sample


@dataclass
class Examined:
    """A job that is examined: what its samples can be looked at with."""

    kind: JobKind
    config: Config
    task: TaskPlugin
    source: ModelSource
    tokenizer: Any
    renderer: Renderer
    memory: int | None
    """Bytes of the accelerator that it is for; None for this machine."""
    processes: int
    shown: int
    """Samples to decode."""
    decoded: list[Segments] = field(default_factory=list)
    """The decoded samples."""

    @property
    def splits(self) -> tuple[str, ...]:
        """What a training reads."""
        return ("train", "eval") if self.config.training.eval_steps else ("train",)

    def decode(self, prompts: list[Sample]) -> None:
        """Show the first prompts, of which nothing is learnt."""
        raw, prompt_ids = self.renderer.raw, self.renderer.prompt_ids
        self.decoded = [[(raw(prompt_ids(one)), False)] for one in prompts[: self.shown]]


class Preflight:
    """The checks of a kind of job that has none of its own."""

    def first(self, config: Config, processes: int) -> Iterator[Finding]:
        """What the configuration alone tells. An error here leaves TRL's arguments unlooked at: TRL would say it once more."""
        yield from ()

    def arguments(self, config: Config, checkpoints: Path) -> dict[str, Any] | None:
        """Keyword arguments of the kind's TRL configuration; None where it has none."""
        return None

    def samples(self, examined: Examined) -> Iterator[Finding]:
        """What is wrong with the samples, and whether they fit the machine.

        Raises: TenysonError: the job would refuse them.
        """
        yield from ()


class SFTPreflight(Preflight):
    """Conversations: masks, templates, lengths."""

    def arguments(self, config: Config, checkpoints: Path) -> dict[str, Any]:
        """Of trl.SFTConfig."""
        from tenyson.jobs.trainers.arguments import sft_arguments

        return sft_arguments(config, checkpoints)

    def samples(self, examined: Examined) -> Iterator[Finding]:
        """As SFTJob checks them."""
        from tenyson.jobs.data.conversations import read_conversations

        one = examined
        splits = [
            read_conversations(
                one.task, one.renderer, split, one.config, job=one.kind.name, processes=one.processes
            )
            for split in one.splits
        ]
        one.decoded = segments(splits[0], one.renderer, one.shown)
        yield from check_sft(
            splits, one.renderer, one.tokenizer, one.config, one.source, one.memory, one.kind.name
        )


class RLPreflight(Preflight):
    """Groups, prompts, rewards."""

    def first(self, config: Config, processes: int) -> Iterator[Finding]:
        """Whether groups are whole."""
        yield from check_groups(config, processes)

    def arguments(self, config: Config, checkpoints: Path) -> dict[str, Any]:
        """Of trl.GRPOConfig. With vLLM or without, they must go together alike; whether it can be had is told apart."""
        from tenyson.jobs.trainers.arguments import grpo_arguments

        return grpo_arguments(config, checkpoints, vllm=config.generation.engine == "vllm")

    def samples(self, examined: Examined) -> Iterator[Finding]:
        """As RLJob checks them."""
        one = examined
        if not rewards_of(one.task):
            raise TaskError("the task has no rewards", next_step="Implement rewards().")
        prompts, *_ = [
            rl_prompts(one.task, one.config, one.tokenizer, split, processes=one.processes)
            for split in one.splits
        ]
        yield from _played(one, prompts)


class EvalPreflight(Preflight):
    """Prompts and lengths."""

    def first(self, config: Config, processes: int) -> Iterator[Finding]:
        """An evaluation is not for torchrun."""
        if processes > 1:
            cause = "an evaluation runs in one process"
            yield Finding("processes", "error", cause, "Leave out --processes.")

    def samples(self, examined: Examined) -> Iterator[Finding]:
        """As EvalJob checks them."""
        rewards_of(examined.task)
        yield from _played(examined, eval_prompts(examined.task, examined.config, examined.tokenizer))


def _played(one: Examined, prompts: list[Sample]) -> Iterator[Finding]:
    one.decode(prompts)
    yield from check_played(
        one.kind, prompts, one.task, one.renderer, one.config, one.source, one.memory, one.processes
    )
