"""Samples: what a job reads of its task, checked one by one, and as far as its steps need.

A source may be huge, or have no end. With `max_steps` and without a number of samples of one's own, a job reads what its steps take,
and at least READ_AHEAD: data is shuffled, and the first few samples of a sorted source would be a poor choice.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
from tenyson.plugins.job_kinds import job_kind
from tenyson.tasks.checks import check_sample, overrides, with_tools
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.sample import Sample
from tenyson.tasks.usercode import iterate, refuse_coroutine, task_name, user_code

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.job import JobContext

READ_AHEAD = 2_000
"""Samples that are read at least, where there are so many."""
MOST = 1_000_000
"""Samples of training that are read where nothing says how many: a source that yields more may have no end."""
MOST_EVALUATED = 100_000
"""The same of evaluations."""
PACKED = 32
"""Samples that one packed row is taken to hold."""
TOLD_EVERY = 100_000
PATIENT_SECONDS = 2.0
"""Of reading: a stop that comes sooner is heeded after the first step, which leaves something."""
SOURCES = ("source", "dataset", "subset", "domain", "category", "kind")
"""Keys of a sample's data that name the source of a mixture, the first that is there."""


@dataclass(frozen=True)
class Extent:
    """How far a source is read."""

    most: int
    why: str | None
    """Why reading ends there, to be said; "": the configuration says so; None: it does not end there, and a longer source is refused."""
    key: str
    """The key of the configuration that says otherwise."""


def extent(config: Config, job: str, split: str, processes: int = 1) -> Extent:
    """How many samples a job takes of a split: "train" or "eval" of a training, or any of an evaluation."""
    if not job_kind(job).trains:
        return _told(config.evaluation.samples, MOST_EVALUATED, "evaluation.samples")
    if split == "eval":
        return _told(config.training.eval_samples, MOST_EVALUATED, "training.eval_samples")
    key = "training.samples"
    steps = config.trl.get("max_steps") or config.training.max_steps
    if config.training.samples is not None or not isinstance(steps, int) or steps < 1:
        return _told(config.training.samples, MOST, key)
    needed = steps * samples_per_step(config, job, processes)
    most = READ_AHEAD
    while most < needed:  # in powers of two: a few steps more read the same samples
        most *= 2
    return Extent(most, f"its {steps:,} steps take {needed:,}", key)


def samples_per_step(config: Config, job: str, processes: int = 1) -> int:
    """Prompts, rows, or samples of packed rows that an optimizer step takes at most."""
    training, trl, kind = config.training, config.trl, job_kind(job)
    size = trl.get("per_device_train_batch_size", training.batch_size)
    steps = trl.get("gradient_accumulation_steps", training.gradient_accumulation_steps)
    group = trl.get("num_generations", training.num_generations) if kind.generates else 1
    if not all(isinstance(number, int) and number > 0 for number in (size, steps, group)):
        return 1  # preflight refuses them
    rows: int = -(-size * steps * processes // group)
    return rows * PACKED if kind.reads("training.packing") and training.packing else rows


def read_samples(
    task: TaskPlugin,
    job: str,
    split: str,
    seed: int,
    *,
    extent: Extent,
    tokenizer: Any = None,
    context: JobContext | None = None,
) -> Iterator[Sample]:
    """The task's samples for a job, those that its `keep_sample` keeps.

    Args:
        tokenizer: the model's, for `keep_sample`.
        context: is told why reading stopped, how far it is, and how many samples were left out; a stop that is asked of it
            ends the job here, where reading takes long.

    Raises:
        TaskError: the task has none for that job, raises, yields something else, or does not end.
        StoppedByHandError, StoppedEarlyError: a stop was asked for.
    """
    say: Callable[[str], None] = (lambda _: None) if context is None else context.say
    patient_until = time.monotonic() + PATIENT_SECONDS
    method = job_kind(job).samples
    if not hasattr(task, method):
        raise TaskError(
            f"the task {task_name(task)} has no {method}", next_step=f"Implement {method}(split, seed)."
        )
    hook = f"{method}({split!r}) of the task {task_name(task)}"
    kept = left_out = 0
    for number, found in enumerate(iterate(hook, lambda: getattr(task, method)(split, seed))):
        if number == max(MOST, extent.most) or kept == extent.most:
            raise TaskError(
                f"{hook} yields more than {number:,} samples, and may have no end",
                next_step=f"Set {extent.key} to the number that is wanted.",
            )
        if context is not None and context.stop.requested and time.monotonic() > patient_until:
            context.heed_stop()
        sample = with_tools(task, check_sample(found, hook, number))
        if _keeps(task, sample, tokenizer):
            kept += 1
            yield sample
        else:
            left_out += 1
        if (number + 1) % TOLD_EVERY == 0:
            say(f"{hook}: {number + 1:,} samples read so far")
        if kept == extent.most and extent.why is not None:
            if extent.why:
                say(
                    f"{hook}: reading ends after {kept:,} samples, since {extent.why}; {extent.key} sets another number"
                )
            break
    if left_out:
        say(f"{hook}: keep_sample left out {left_out:,} of {kept + left_out:,} samples")


def rl_prompts(
    task: TaskPlugin,
    config: Config,
    tokenizer: Any,
    split: str,
    *,
    processes: int = 1,
    context: JobContext | None = None,
) -> list[Sample]:
    """What RL explores, or evaluates on the way. Raises: TaskError: there are none, or as `read_samples`."""
    wanted = extent(config, "rl", split, processes)
    found = list(
        read_samples(task, "rl", split, config.run.seed, extent=wanted, tokenizer=tokenizer, context=context)
    )
    if not found:
        raise TaskError(f"the task has no RL samples in the split {split!r}")
    return found


def eval_prompts(
    task: TaskPlugin, config: Config, tokenizer: Any, *, context: JobContext | None = None
) -> list[Sample]:
    """What an evaluation measures on: where `evaluation.samples` takes a part of a mixture, some of each source.

    Raises: TaskError: there are none, or as `read_samples`.
    """
    split, number = config.evaluation.split, config.evaluation.samples
    wanted = extent(config, "eval", split)
    if number is not None:
        wanted = replace(wanted, most=max(number, READ_AHEAD))
    found = list(
        read_samples(
            task, "eval", split, config.run.seed, extent=wanted, tokenizer=tokenizer, context=context
        )
    )
    if not found:
        raise TaskError(f"the task has no evaluation samples in the split {split!r}")
    if number is None or len(found) <= number:
        return found
    chosen, sources = interleave(found, number)
    if sources > 1 and context is not None:
        context.say(
            f"evaluation.samples takes {number:,} of {len(found):,} samples that were read, of {sources} sources: they are "
            "interleaved by a shuffle that is always the same"
        )
    return chosen


def interleave(samples: Sequence[Sample], number: int) -> tuple[list[Sample], int]:
    """The first `number` samples of a mixture whose sources are interleaved by a shuffle that is always the same, and how many
    sources there are.

    Each source keeps its order, so that samples of one source are its first ones.
    """
    sources: dict[str, list[Sample]] = {}
    for sample in samples:
        sources.setdefault(_source(sample), []).append(sample)
    if len(sources) == 1 or len(samples) <= number:
        return list(samples[:number]), len(sources)
    order = [name for name, own in sources.items() for _ in own]
    random.Random(0).shuffle(order)
    rest = {name: iter(own) for name, own in sources.items()}
    return [next(rest[name]) for name in order[:number]], len(sources)


def _source(sample: Sample) -> str:
    """Where a sample comes from: what its data says, or its id without the numbers."""
    said = next((sample.data[key] for key in SOURCES if isinstance(sample.data.get(key), str)), None)
    return str(said) if said is not None else re.sub(r"\d+", "#", sample.id)


def _keeps(task: TaskPlugin, sample: Sample, tokenizer: Any) -> bool:
    if not overrides(task, "keep_sample"):
        return True
    what, where = f"keep_sample() of the task {task_name(task)}", f" on sample {sample.id}"
    with user_code(what, where):
        answer = task.keep_sample(sample, tokenizer)
        refuse_coroutine(answer, f"{what}{where}")
        return bool(answer)


def _told(number: int | None, most: int, key: str) -> Extent:
    return Extent(most, None, key) if number is None else Extent(number, "", key)
