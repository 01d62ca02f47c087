"""Checks of what RL and evaluation begin from: prompt lengths, groups, known answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from tenyson.engines.engine import Reply
from tenyson.engines.play import play
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.scoring import score_all
from tenyson.jobs.models.memory import engine_limit
from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.checks import has_agent
from tenyson.tasks.metrics.scoring import rewards_of
from tenyson.tasks.rollout import Rollout
from tenyson.tasks.sample import Sample

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.tasks.plugin import TaskPlugin

COUNTED = 10_000
"""Prompts whose length is counted at most: some seconds' worth."""
TRIED = 4
"""Known answers that are tried."""
NONSENSE = "zzz"


def prompt_lengths(samples: Sequence[Sample], renderer: Renderer) -> list[int]:
    """Tokens of each prompt, up to the first COUNTED different ones."""
    known: dict[int, int] = {}
    lengths = []
    for sample in samples:
        # An evaluation plays one sample several times.
        if id(sample) not in known:
            if len(known) == COUNTED:
                break
            known[id(sample)] = len(renderer.prompt_ids(sample))
        lengths.append(known[id(sample)])
    return lengths


def check_prompts(
    lengths: Sequence[int], prompts: int, turns: int, config: Config, context_length: int | None
) -> Iterator[Finding]:
    """Lengths in tokens, of all prompts or the first of them, against what the model can read.

    `turns`: replies of one conversation at most, which may fill up what the prompt leaves.
    """
    longest = max(lengths)
    limit = min(filter(None, (context_length, engine_limit(config.engine_args, config.trl))), default=None)
    if limit is None:
        return
    reply = config.generation.max_new_tokens
    over = sum(length >= limit for length in lengths)
    first = "the first " if len(lengths) < prompts else ""
    if over:
        yield Finding(
            "prompt_length",
            "error",
            f"{over} of {first}{len(lengths)} prompts are as long as all that the model can read ({limit} tokens; the longest has "
            f"{longest})",
            "Filter them in the task, or raise the limit of the engine or the model.",
        )
    elif longest + turns * reply > limit:
        replies = f"{turns} replies" if turns > 1 else "a reply"
        yield Finding(
            "prompt_length",
            "warning",
            f"the longest of {first}{len(lengths)} prompts ({longest} tokens) and {replies} of up to {reply} come to "
            f"{longest + turns * reply} tokens or more; the model can read {limit}",
            "Lower generation.max_new_tokens or max_turns, or shorten the prompts.",
        )
    elif first:
        yield Finding(
            "prompt_length",
            "info",
            f"the first {len(lengths)} of {prompts} prompts fit; the others were not counted",
        )


def check_unused_eos(renderer: Renderer) -> Iterator[Finding]:
    """What the checkpoint would end replies on, and Tenyson does not."""
    if renderer.unused_eos:
        yield Finding(
            "eos",
            "warning",
            f"the checkpoint's generation config ends replies on {renderer.raw(renderer.unused_eos)!r} "
            f"(ids {', '.join(map(str, renderer.unused_eos))}), which is ordinary text, so replies do not end there",
            "Mark the token as special in the tokenizer if it should end them.",
        )


def check_groups(config: Config, processes: int) -> Iterator[Finding]:
    """Whether completions come in whole groups, in training and where it evaluates on the way."""
    training, trl = config.training, config.trl
    sizes = _sizes(config)
    if sizes is None:
        yield Finding(
            "groups",
            "error",
            "batch sizes, steps and groups are not all whole numbers above 0",
            "Look at `trl` in the configuration: it takes precedence over `training`.",
        )
        return
    group, size, steps, told = sizes
    eval_group = trl.get("num_generations_eval") or group
    eval_size = trl.get("per_device_eval_batch_size", training.batch_size)
    many = _times(processes, "process", "processes")
    batch = told or size * processes * steps
    if batch % group:
        whole = math.ceil(batch / group) * group
        how = f"{size} completions x {many} x {_times(steps, 'step', 'steps')} = {batch}"
        yield Finding(
            "groups",
            "error",
            f"{f'trl.generation_batch_size = {told}' if told else how} are no whole groups of training.num_generations = {group}",
            f"Make it a multiple, such as {whole}: for example training.batch_size: {group}.",
        )
    # YAML reads a bare `no` as false.
    if trl.get("eval_strategy", "steps" if training.eval_steps else "no") in ("no", False):
        return
    # An evaluation takes no accumulation steps: each of its batches must hold whole groups.
    if (eval_size * processes) % eval_group:
        whole = math.ceil(eval_size / eval_group) * eval_group
        yield Finding(
            "groups",
            "error",
            f"while training evaluates (training.eval_steps), {eval_size} completions x {many} = {eval_size * processes} are no "
            f"whole groups of {eval_group}",
            f"Set training.batch_size: {whole}, trl.per_device_eval_batch_size: {whole}, or trl.num_generations_eval to a divisor "
            f"of {eval_size * processes}.",
        )


def _sizes(config: Config) -> tuple[int, int, int, int | None] | None:
    """Completions of a group and of a device, batches that are generated together, and `trl.generation_batch_size`.

    None where one of them, or of those of an evaluation on the way, is no whole number above 0.
    """
    training, trl = config.training, config.trl
    group = trl.get("num_generations", training.num_generations)
    size = trl.get("per_device_train_batch_size", training.batch_size)
    steps = trl.get("steps_per_generation") or trl.get(
        "gradient_accumulation_steps", training.gradient_accumulation_steps
    )
    told = trl.get("generation_batch_size")
    evaluated = trl.get("num_generations_eval") or 1, trl.get("per_device_eval_batch_size", 1)
    numbers = (group, size, steps, told or 1, *evaluated)
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        return None
    return group, size, steps, told


def _times(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def check_loss(config: Config) -> Iterator[Finding]:
    """What the number that everybody looks at first means."""
    if config.training.beta == 0 and config.trl.get("num_iterations", 1) == 1:
        yield Finding(
            "loss",
            "info",
            "with training.beta: 0 and one iteration GRPO's logged loss stays near 0 whatever is learnt: its value is the mean "
            "advantage, its gradient is not 0",
            "Watch the reward and its components instead.",
        )


def check_count(prompts: int, config: Config, processes: int) -> Iterator[Finding]:
    """Whether the prompts fill one generated batch: TRL leaves out what does not, and would train nothing."""
    sizes = _sizes(config)
    if sizes is None:
        return  # told by check_groups
    group, size, steps, told = sizes
    completions = told or size * processes * steps
    needed = completions // group
    if prompts >= needed:
        return
    yield Finding(
        "groups",
        "error",
        f"one generated batch takes {needed} different prompts ({completions} completions in groups of {group}), and the task has "
        f"{prompts}: not one step could be trained",
        f"Add prompts, or take fewer at a time: training.batch_size x training.gradient_accumulation_steps up to {prompts * group}.",
    )


def check_rewards(
    task: TaskPlugin, samples: Sequence[Sample], renderer: Renderer, config: Config
) -> Iterator[Finding]:
    """Plays known good answers (completions of RL's own samples) and nonsense, and looks at what they are worth."""
    if has_agent(task):
        yield Finding("rewards", "info", "an agent plays the rollouts, so no known answer was tried")
        return
    known = list(islice((one for one in samples if one.completion), TRIED))
    if not known:
        yield Finding(
            "rewards",
            "info",
            "no RL sample has a completion, so no answer is known to be good, and none was tried",
        )
        return
    worth: dict[str, list[float]] = {"good": [], "bad": []}
    rewards = rewards_of(task)
    for sample in known:
        answers = {"good": renderer.replies(sample), "bad": [renderer.reply(NONSENSE)]}
        rollouts, failure = [], None
        for kind, scripted in answers.items():
            rollouts.append(_act(task, sample, renderer, scripted, config))
            if error := rollouts[-1].error:
                failure = failure or f"a {kind} answer: {error.message}"
        if failure is None:
            where = [f"on a {kind} answer to {sample.id}" for kind in answers]
            scored = score_all(rewards, rollouts, limits=Limits.from_config(config), where=where)
            failure = next((one.failure for one in scored if one.failure), None)
        if failure:
            yield Finding(
                "rewards",
                "error",
                failure,
                "A rollout may hold anything. Neither reward nor environment may raise; rewards are finite numbers, or None.",
            )
            return
        for kind, one in zip(answers, scored, strict=True):
            worth[kind].append(one.reward)
    good, bad = (sum(values) / len(values) for values in worth.values())
    if good <= bad:
        yield Finding(
            "rewards",
            "warning",
            f"known good answers are worth {good:.3g} and {NONSENSE!r} is worth {bad:.3g}, so this reward does not teach the task",
            "Check the rewards, their signs and weights.",
        )
    else:
        yield Finding(
            "rewards", "info", f"known good answers are worth {good:.3g}, {NONSENSE!r} is worth {bad:.3g}"
        )


def check_spread(groups: Sequence[Sequence[float]]) -> Iterator[Finding]:
    """Rewards of a few groups that the untrained policy has played: where all in a group are equal, nothing is learnt from it."""
    flat = sum(max(group) - min(group) < 1e-9 for group in groups)
    mean = sum(map(sum, groups)) / sum(map(len, groups))
    words = f"before training, rewards differ in {len(groups) - flat} of {len(groups)} groups that were tried; their mean is {mean:.3g}"
    if flat == len(groups):
        yield Finding(
            "reward_spread",
            "warning",
            words,
            "GRPO learns from differences within groups. Take easier or harder prompts, partial rewards, more num_generations, or "
            "teach the format by SFT first.",
        )
    else:
        yield Finding("reward_spread", "info", words)


def _act(
    task: TaskPlugin, sample: Sample, renderer: Renderer, replies: Sequence[list[int]], config: Config
) -> Rollout:
    def generate(prompts: list[list[int]], turn: int) -> list[Reply]:
        return [Reply(replies[min(turn, len(replies) - 1)], "stop") for _ in prompts]

    turns, limits = config.generation.max_turns, Limits.from_config(config)
    return play(task, [sample], renderer, generate, max_turns=turns, limits=limits)[0].rollout
