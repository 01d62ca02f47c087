"""Rewards are asked once each: plain ones in order, async ones side by side, some about several rollouts, all within their limits."""

from __future__ import annotations

import asyncio
import functools
import threading
import time

import numpy
import pytest

from tenyson.engines.rollouts.abandoned import ABANDONED
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.scoring import score_all
from tenyson.errors import TaskError, TenysonError
from tenyson.tasks import Reward, Rollout, Sample
from tenyson.tasks.rollout import RolloutError


def rollout(text: str, sample: str = "s") -> Rollout:
    prompt = [{"role": "user", "content": "?"}]
    return Rollout(Sample(sample, prompt), ({"role": "assistant", "content": text},))


def values(scored, name="judge"):
    return [one.components[name] for one in scored]


def threads():
    return {one for one in threading.enumerate() if one.name.startswith("tenyson-world")}


async def slow(one: Rollout) -> float:
    await asyncio.sleep(0.3)
    return float(one.text)


def test_64_async_rewards_of_300_ms_wait_together():
    """One after the other they would take 20 s; their threads are gone afterwards."""
    before = threads()
    begun = time.monotonic()
    scored = score_all([Reward("judge", slow)], [rollout(str(number)) for number in range(64)])
    assert time.monotonic() - begun < 5
    assert values(scored) == [float(number) for number in range(64)]
    deadline = time.monotonic() + 5
    while threads() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads() - before


def test_no_more_async_rewards_run_at_once_than_configured():
    running, most = 0, []

    async def count(one):
        nonlocal running
        running += 1
        most.append(running)
        await asyncio.sleep(0.005)
        running -= 1
        return 1.0

    score_all([Reward("judge", count)], [rollout("a")] * 20, limits=Limits(concurrency=4))
    assert max(most) == 4


def test_what_ends_first_reaches_neither_results_nor_the_order_in_which_plain_rewards_are_asked():
    """A reward with a memory sees the rollouts in order, in the thread of the training, while async ones wait."""
    asked = []

    async def later(one):
        await asyncio.sleep(0.05 - 0.01 * int(one.text))
        return int(one.text)

    def remembers(one):
        asked.append((one.text, threading.current_thread()))
        return len(asked)

    rewards = [Reward("judge", later), Reward("memory", remembers)]
    scored = score_all(rewards, [rollout(str(number)) for number in range(5)])
    assert values(scored) == [0, 1, 2, 3, 4]
    assert values(scored, "memory") == [1, 2, 3, 4, 5]
    assert asked == [(str(number), threading.current_thread()) for number in range(5)]


@pytest.mark.parametrize("wrap", [lambda function: function, functools.partial, lambda f: lambda one: f(one)])
def test_whatever_can_be_awaited_is_awaited(wrap):
    """An async function, a partial of one, and a lambda that returns what one returns."""
    assert values(score_all([Reward("judge", wrap(slow))], [rollout("7")])) == [7.0]


def test_a_group_reward_sees_the_rollouts_of_one_prompt_and_a_batch_reward_all():
    seen = []

    def ranks(group):
        seen.append([one.text for one in group])
        return numpy.argsort(numpy.argsort([len(one.text) for one in group]))

    async def share(batch):
        return [len(one.text) / sum(len(other.text) for other in batch) for one in batch]

    rollouts = [rollout("a", "x"), rollout("bbb", "x"), rollout("cc", "y"), rollout("dd", "x")]
    scored = score_all([Reward("rank", ranks, group=True), Reward("share", share, batch=True)], rollouts)
    assert sorted(seen) == [["a", "bbb", "dd"], ["cc"]]
    assert values(scored, "rank") == [0, 2, 0, 1]
    assert values(scored, "share") == [1 / 8, 3 / 8, 2 / 8, 2 / 8]
    # The same sample twice in a batch: the groups are those of the prompts, as the caller says.
    seen.clear()
    score_all([Reward("rank", ranks, group=True)], [rollout("a")] * 4, groups=[0, 0, 1, 1])
    assert seen == [["a", "a"], ["a", "a"]]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1.0], "returned 1 values for 2 rollouts"),
        (1.0, "returned a float: 1.0, not a list of 2 values"),
        ("12", "returned a str: '12', not a list of 2 values"),
        ([1.0, "good"], "returned a str: 'good', which is no number"),
        ([1.0, float("nan")], "returned nan"),
    ],
)
def test_a_group_reward_that_cannot_be_read_fails_its_group_alone(value, words):
    """The rollouts of other prompts, and what other rewards say, stay."""

    def judge(group):
        return value if group[0].sample.id == "s" else [1.0, None]

    rollouts = [rollout("a"), rollout("b"), rollout("c", "t"), rollout("d", "t")]
    scored = score_all([Reward("judge", judge, group=True), Reward("fine", lambda _: 2.0)], rollouts)
    assert [one.failure is None for one in scored] == [False, False, True, True]
    assert all("the reward judge on the group of sample s returned" in str(one.failure) for one in scored[:2])
    assert all(words in str(one.failure) for one in scored[:2])
    assert values(scored) == [None, None, 1.0, None]
    assert values(scored, "fine") == [2.0] * 4


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_reward_that_raises_is_asked_again_and_then_named(kind):
    """Its class, its message and the lines of its own code are kept."""
    asked = []

    def flaky(one):
        asked.append(one.text)
        if one.text == "never" or asked.count(one.text) < 3:
            raise ConnectionError(f"no line for {one.text}")
        return 1.0

    async def flaky_later(one):
        return flaky(one)

    judge = Reward("judge", flaky if kind == "plain" else flaky_later)
    good, bad = score_all([judge], [rollout("sometimes"), rollout("never")])
    assert (good.components, good.rollout.error) == ({"judge": 1.0}, None)
    assert asked.count("sometimes") == asked.count("never") == 3
    assert bad.rollout.error is not None
    assert (bad.rollout.error.source, bad.rollout.error.kind) == ("reward", "ConnectionError")
    assert (
        "the reward judge raises on sample s: ConnectionError: no line for never ("
        in bad.rollout.error.message
    )
    assert 'raise ConnectionError(f"no line for {one.text}")' in bad.rollout.error.traceback
    assert "rollouts/scoring.py" not in bad.rollout.error.traceback
    assert bad.reward == 0.0


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_reward_that_does_not_answer_is_given_up_at_its_limit(kind, own):
    """Its own limit, or else that of `rollouts.reward_seconds`; the other rollouts are scored, in order."""
    free = threading.Event()
    asked = []

    def hang(one):
        asked.append(one.text)
        if one.text == "1":
            free.wait(20)
        return 1.0

    async def hang_later(one):
        asked.append(one.text)
        await asyncio.sleep(20 if one.text == "1" else 0)
        return 1.0

    limits = Limits(reward_seconds=20 if own else 0.5, retries=0)
    judge = Reward("judge", hang if kind == "plain" else hang_later, seconds=0.5 if own else None)
    begun = time.monotonic()
    scored = score_all([judge], [rollout(str(number)) for number in range(3)], limits=limits)
    assert time.monotonic() - begun < 15
    free.set()
    assert values(scored) == [1.0, None, 1.0]
    assert (asked if kind == "plain" else sorted(asked)) == ["0", "1", "2"]
    assert scored[1].rollout.error == RolloutError(
        "reward", "TimeoutError", "the reward judge on sample s: no answer within 0.5 s"
    )


def test_a_rollout_that_was_broken_off_is_asked_about_by_no_reward():
    """And a reward of its group sees the others."""
    seen = []
    broken = Rollout(Sample("s", []), (), "error", error=RolloutError("environment", "OSError", "gone"))

    def judge(group):
        seen.append(len(group))
        return [1.0] * len(group)

    single = Reward("single", lambda one: seen.append(one.text) or 1.0)
    scored = score_all([Reward("judge", judge, group=True), single], [rollout("a"), broken, rollout("b")])
    assert sorted(map(str, seen)) == ["2", "a", "b"]
    assert [one.rollout.error for one in scored] == [None, broken.error, None]
    assert values(scored) == [1.0, None, 1.0]
    assert score_all([Reward("judge", judge, batch=True)], [broken])[0].failure == "gone"


def test_an_error_that_ends_the_job_is_no_rollouts_own():
    class SpentError(TenysonError):
        ends_job = True

    async def judge(one):
        raise SpentError("nothing is left")

    with pytest.raises(SpentError, match="nothing is left"):
        score_all([Reward("judge", judge)], [rollout("a")] * 3)


def test_a_stop_does_not_wait_for_an_answer():
    """What is under way is cancelled, whether or not anything has ended."""
    cancelled = []

    async def judge(one):
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            cancelled.append(one.text)
            raise
        return 1.0

    def between():
        raise InterruptedError

    begun = time.monotonic()
    with pytest.raises(InterruptedError):
        score_all([Reward("judge", judge)], [rollout("slow")], between=between)
    while not cancelled and time.monotonic() - begun < 5:
        time.sleep(0.01)
    assert cancelled == ["slow"]


def test_a_reward_of_a_group_says_where_its_value_is():
    """Metrics read what was recorded; there is none before."""
    judge = Reward("judge", lambda group: [1.0] * len(group), group=True)
    [scored] = score_all([judge], [rollout("a")])
    assert judge(scored.rollout) == 1.0
    with pytest.raises(TaskError, match="has no value for one alone"):
        judge(rollout("a"))


def test_calls_that_never_come_back_are_counted_over_all_batches_and_end_the_job():
    """More than 64 threads at a time may hold memory and connections for ever."""
    free = threading.Event()
    hangs = Reward("hangs", lambda _: free.wait(60), seconds=0.005)

    def batch():
        score_all([hangs], [rollout("a")] * 13, limits=Limits(retries=0))

    try:
        for _ in range(4):
            batch()
        with pytest.raises(TaskError, match="65 calls into the task's code have not come back"):
            batch()
        assert ABANDONED.count == 65
    finally:
        free.set()
    deadline = time.monotonic() + 10
    while ABANDONED.count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not ABANDONED.count
