"""Checks that several kinds of job share: of conversations, of what is played, of the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tenyson.jobs.models.dims import find_dims
from tenyson.jobs.models.memory import NOTHING, Facts
from tenyson.jobs.preflight.conversations import check_conversations
from tenyson.jobs.preflight.engine import on_gpu, resolve_engine
from tenyson.jobs.preflight.machine import check_disk, check_memory, check_versions
from tenyson.jobs.preflight.new_tokens import check_new_tokens
from tenyson.jobs.preflight.played.groups import check_count
from tenyson.jobs.preflight.played.known_answers import check_rewards
from tenyson.jobs.preflight.played.prompts import (
    check_loss,
    check_prompts,
    check_unused_eos,
    prompt_lengths,
)
from tenyson.jobs.preflight.played.trial import try_task
from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.checks import has_agent, plays_on

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.data.conversations import Conversations
    from tenyson.jobs.models.model import ModelSource
    from tenyson.plugins.job_kind import JobKind
    from tenyson.tasks.plugin import TaskPlugin
    from tenyson.tasks.sample import Sample


def check_sft(
    splits: Sequence[Conversations],
    renderer: Renderer,
    tokenizer: Any,
    config: Config,
    source: ModelSource,
    memory: int | None = None,
    job: str = "sft",
) -> Iterator[Finding]:
    """Before SFT. `memory`: bytes of the accelerator; None for this machine's. `job`: the kind of job."""
    from tenyson.jobs.models.model import context_length

    context = context_length(source)
    for rows in splits:
        yield from check_conversations(rows, renderer, tokenizer, config, context)
    yield from check_new_tokens(config, source, tokenizer)
    facts = Facts(row=max(rows.longest for rows in splits), context=context)
    yield from check_machine(config, job, source.path, memory, facts)


def check_played(
    kind: JobKind,
    samples: Sequence[Sample],
    task: TaskPlugin,
    renderer: Renderer,
    config: Config,
    source: ModelSource,
    memory: int | None = None,
    processes: int = 1,
    tried: bool = False,
) -> Iterator[Finding]:
    """Before RL or an evaluation. Whether RL's groups are whole is checked apart, before TRL sees its arguments.

    `tried`: whether environment, tools and rewards have worked before, and are not tried again.
    """
    from tenyson.jobs.models.model import context_length

    context, elsewhere = context_length(source), memory is not None
    lengths = prompt_lengths(samples, renderer)
    found = [] if tried else try_task(task, samples, renderer, config, trains=kind.trains)
    yield from map(_as_here, found) if elsewhere else found
    turns = config.generation.max_turns if plays_on(task, samples) else 1
    if turns > 1 and not has_agent(task):  # whose requests can each be a conversation of their own
        renderer.check_turns()  # refused now, not after the first turn
    yield from check_unused_eos(renderer)
    for finding in check_prompts(lengths, len(samples), turns, config, context):
        yield _beyond_positions(finding, max(lengths), config, source)
    if kind.trains:
        yield from check_count(len(samples), config, processes)
        if not any(one.severity == "error" for one in found):
            yield from check_rewards(task, samples, renderer, config)
        yield from check_loss(config)
        yield from check_new_tokens(config, source, renderer.tokenizer)
    facts = Facts(
        prompt=max(lengths),
        turns=turns,
        context=context,
        engine=resolve_engine(kind.name, config, source.path, elsewhere=elsewhere, processes=processes),
        on_cpu=not elsewhere and not on_gpu(),
    )
    yield from check_machine(config, kind.name, source.path, memory, facts)


def _as_here(finding: Finding) -> Finding:
    """Of a job for another machine: what fails here may work there."""
    if finding.severity != "error":
        return finding
    return replace(finding, severity="warning", cause=f"on this machine: {finding.cause}")


def _beyond_positions(finding: Finding, longest: int, config: Config, source: ModelSource) -> Finding:
    """A warning of lengths is an error for a model that fails beyond its positions."""
    if finding.check != "prompt_length" or finding.severity != "warning":
        return finding
    from tenyson.jobs.preflight.fitting import positions

    last = positions(config, source)
    if last is None or longest + config.generation.max_new_tokens <= last:
        return finding
    cause = f"{finding.cause}; its positions are learnt, so that it fails at the next token"
    return replace(finding, severity="error", cause=cause)


def check_machine(
    config: Config, job: str, model: str | None, memory: int | None = None, facts: Facts = NOTHING
) -> Iterator[Finding]:
    """Before any job. `model`: the name or directory that tells its dimensions."""
    plain = config.model_dump(mode="json")
    dims = find_dims(plain["model"] | {"name": model})
    if memory is None:
        yield from check_versions()
    else:
        yield from check_versions(
            "warning", "so arguments, model, samples, lengths and rewards were not looked at"
        )
    yield from check_memory(plain, job, dims, memory, facts)
    yield from check_disk(config, job, dims, elsewhere=memory is not None)
