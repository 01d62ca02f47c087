"""Rewards in RL and evaluation: async ones, those that compare a prompt's rollouts, and those that fail or hang."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from tenyson.errors import ConfigError, TaskError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.preflight.played.whole_groups import require_whole_groups
from tenyson.jobs.rl import RLJob
from tenyson.tasks import Reward, Sample, TaskPlugin

pytestmark = pytest.mark.train

GRPO = {"max_steps": 2, "batch_size": 8, "num_generations": 4, "learning_rate": 0.01, "preflight_groups": 1}


class Compared(TaskPlugin):
    """Sixteen prompts, and rewards as a test wants them."""

    name = "compared"

    def __init__(self, *rewards: Reward) -> None:
        super().__init__()
        self._rewards = rewards

    def samples(self, split, seed):
        return [Sample(f"{split}-{n}", [{"role": "user", "content": "abcd"[n % 4]}]) for n in range(16)]

    rl_samples = eval_samples = samples

    def rewards(self):
        return self._rewards


def ranks(group):
    """A place for each, by length; a group is of one prompt."""
    assert len({one.sample.id for one in group}) == 1
    order = sorted(range(len(group)), key=lambda place: len(group[place].text))
    return [order.index(place) / len(group) for place in range(len(group))]


async def waits(rollout):
    await asyncio.sleep(0.2)
    return float(len(rollout.text))


def by_group(events):
    groups = {}
    for event in events:
        groups.setdefault(event["group"], []).append(event["components"])
    return groups


def test_async_and_group_rewards_train_and_are_recorded(configure, events):
    """Eight rollouts wait 0.2 s together, and each group has its own ranks."""
    sizes = []

    def counted(batch):
        sizes.append(len(batch))
        return [1.0] * len(batch)

    task = Compared(
        Reward("rank", ranks, group=True), Reward("waits", waits), Reward("all", counted, batch=True)
    )
    result = RLJob(configure("rl", training=GRPO), task).run()
    recorded = events("rl", "RolloutFinished")
    assert len(recorded) == 16
    for group in by_group(recorded).values():
        assert sorted(one["rank"] for one in group) == [0, 0.25, 0.5, 0.75]
    assert sizes == [4, 4, 8, 8]  # a made-up group and one of the model's before training, and two steps
    assert result.metrics["rank"] == 0.375
    assert all(one["components"]["waits"] is not None for one in recorded)


def test_an_evaluation_never_splits_what_a_reward_compares(configure, events):
    """Batches of ten would cut the third group of four."""
    task = Compared(Reward("rank", ranks, group=True))
    config = configure("eval", evaluation={"samples": 6, "samples_per_prompt": 4, "batch_size": 10})
    result = EvalJob(config, task).run()
    groups = by_group(events("eval", "RolloutFinished"))
    assert [sorted(one["rank"] for one in group) for group in groups.values()] == [[0, 0.25, 0.5, 0.75]] * 6
    assert result.metrics["rank"] == 0.375
    said = [event["message"] for event in events("eval", "Notice")]
    assert any("batches of 8 rollouts instead of 10: the reward rank compares" in line for line in said)


def test_a_group_that_does_not_fit_into_a_batch_is_refused(configure):
    task = Compared(Reward("rank", ranks, group=True))
    config = configure("eval", evaluation={"samples": 6, "samples_per_prompt": 4, "batch_size": 3})
    with pytest.raises(ConfigError, match=r"compares the 4 rollouts of a sample, .*batch_size is 3"):
        EvalJob(config, task).run()


def test_a_reward_that_hangs_costs_an_evaluation_its_own_rollouts(configure, events):
    """`rollouts.reward_seconds` is the limit."""

    free = threading.Event()

    def hangs(rollout):
        if rollout.sample.id == "eval-3":
            free.wait(60)
        return 1.0

    config = configure("eval", evaluation={"samples": 8}, rollouts={"reward_seconds": 1.5})
    begun = time.monotonic()
    with pytest.raises(TaskError, match=r"the reward slow on sample eval-3: no answer within 1\.5 s"):
        EvalJob(config, Compared(Reward("slow", hangs))).run()
    assert time.monotonic() - begun < 50
    free.set()
    values = {one["sample_id"]: one["components"]["slow"] for one in events("eval", "RolloutFinished")}
    assert values == {f"eval-{n}": None if n == 3 else 1.0 for n in range(8)}


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"per_device_train_batch_size": 4}, "the 8 rollouts of a prompt, and each process makes 4 of a batch"),
        ({"per_device_eval_batch_size": 12}, "the 8 rollouts of a prompt, and each process evaluates 12 at a time"),
        ({"per_device_eval_batch_size": 12, "num_generations_eval": 3}, None),
        ({"per_device_train_batch_size": 4, "steps_per_generation": 2}, None),
        ({"per_device_train_batch_size": 4, "world_size": 1}, None),
    ],
)  # fmt: skip
def test_groups_that_torchrun_would_spread_over_processes_are_refused(sizes, words):
    """Only where a reward compares rollouts, and several processes train."""
    usual = {"world_size": 2, "steps_per_generation": 1, "num_generations": 8, "num_generations_eval": None}
    usual |= {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 8}
    arguments = SimpleNamespace(**usual | sizes)
    require_whole_groups([Reward("plain", waits)], arguments, evaluates=True)
    compared = [Reward("rank", ranks, group=True)]
    if words is None:
        require_whole_groups(compared, arguments, evaluates=True)
    else:
        with pytest.raises(ConfigError, match=words):
            require_whole_groups(compared, arguments, evaluates=True)
