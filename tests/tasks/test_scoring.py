"""What a task's own code returns is checked where it enters: numbers, names, samples, observations."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy
import pytest

from tenyson.engines.rollouts.scoring import score_all
from tenyson.errors import TaskError
from tenyson.jobs.data.samples import Extent, read_samples
from tenyson.tasks import Environment, Metric, Observation, Reward, Rollout, Sample, TaskPlugin
from tenyson.tasks.checks import current_samples, make_environment, take_step
from tenyson.tasks.metrics.scoring import metrics_of, rewards_of

ALL = Extent(1000, None, "training.samples")
ASK = [{"role": "user", "content": "?"}]
ROLLOUT = Rollout(Sample("s-1", ASK), ({"role": "assistant", "content": "a"},))


class Odd(TaskPlugin):
    """Returns what a test wants."""

    name = "odd"

    def __init__(self, **hooks):
        super().__init__()
        for name, value in hooks.items():
            setattr(self, name, value)


def refuses(rollout):
    raise KeyError("answer")


def leaves(rollout):
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (numpy.float32(0.5), 0.5),
        (numpy.bool_(True), 1.0),
        (numpy.int64(3), 3.0),
        (numpy.array(0.25), 0.25),
        (True, 1.0),
        (Fraction(1, 4), 0.25),
        (Decimal("0.5"), 0.5),
        (None, None),
    ],
)
def test_a_reward_may_be_a_number_of_any_library(value, number):
    """Scalars and truth values become floats, so that training, evaluation and the record hold the same."""
    [found] = score_all([Reward("judge", lambda _: value)], [ROLLOUT])
    assert (found.components, found.failure) == ({"judge": number}, None)
    assert number is None or type(found.components["judge"]) is float


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda _: math.nan, "returned nan"),
        (lambda _: -math.inf, "returned -inf"),
        (lambda _: 10**400, "too large for a float"),
        (lambda _: 10**5000, "too large for a float"),
        (lambda _: 1e30, "returned 1e+30"),
        (lambda _: "1.0", "a str: '1.0', which is no number"),
        (lambda _: [1.0], "a list: [1.0], which is no number"),
        (lambda _: 1j, "which is no number"),
        (lambda _: numpy.array([1.0]), "no single number"),
        (refuses, "raises on sample s-1: KeyError: 'answer' ("),
        (leaves, "SystemExit: 3"),
    ],
)
def test_a_reward_that_is_no_finite_number_is_refused_by_name_and_sample(function, words):
    """And the other rewards of the rollout keep their values."""
    [found] = score_all([Reward("judge", function), Reward("fine", lambda _: 2.0, weight=0.5)], [ROLLOUT])
    assert found.failure is not None
    assert "the reward judge" in found.failure
    assert "sample s-1" in found.failure
    assert words in found.failure
    assert (found.components, found.reward) == ({"judge": None, "fine": 2.0}, 1.0)


def test_a_reward_is_asked_once_for_each_rollout():
    """Metrics read what was recorded: a judge that costs money or is noisy is not asked again."""
    asked = []
    task = Odd(rewards=lambda: [Reward("judge", lambda rollout: asked.append(rollout) or len(asked))])
    scored = score_all(rewards_of(task), [ROLLOUT] * 3)
    measured = metrics_of(task, [one.rollout for one in scored], [])
    assert len(asked) == 3
    assert measured["judge"].value == 2.0


@pytest.mark.parametrize(
    ("rewards", "words"),
    [
        ([Reward("x", lambda _: 1.0), Reward("x", lambda _: 5.0)], "two rewards have the same name: x"),
        (None, "returned None"),
        ([lambda _: 1.0], "which is no Reward"),
        ([Reward("", lambda _: 1.0)], "is empty"),
        ([Reward("a\ud800", lambda _: 1.0)], "lone surrogate"),
        ([Reward("x", 1.0)], "the function of the reward x"),
        ([Reward("x", lambda _: 1.0, weight=math.nan)], "the weight of the reward x"),
        ([Reward("x", lambda _: 1.0, seconds=0)], "the time limit of the reward x is 0 s"),
        ([Reward("x", lambda _: [], group=True, batch=True)], "x is both of a group and of a batch"),
    ],
)
def test_rewards_that_cannot_be_told_apart_or_asked_are_refused(rewards, words):
    """Before anything is generated."""
    with pytest.raises(TaskError, match=words):
        rewards_of(Odd(rewards=lambda: rewards))


def test_metrics_that_are_no_numbers_are_named_and_the_others_kept():
    """Scalars of numpy are numbers; NaN is what was measured on nothing."""
    metrics = {
        "text": "0.5", "many": [1.0], "endless": math.inf, "later": None, "huge": 10**400,
        "fine": Metric(numpy.float32(0.5), numpy.int64(2), 0, 1), "plain": numpy.float64(2), 3: 1.0,
    }  # fmt: skip
    failures: list[str] = []
    found = metrics_of(Odd(metrics=lambda _: metrics), [ROLLOUT], failures)
    assert found["fine"] == Metric(0.5, 2, 0.0, 1.0)
    assert found["plain"] == 2.0
    assert math.isnan(found["later"])
    assert set(found) == {"fine", "plain", "later"}
    assert len(failures) == 5
    for name in ("text", "many", "endless", "huge"):
        assert any(f"the metric {name}" in failure for failure in failures)


def test_metrics_that_raise_are_told_with_their_place():
    """The file and line of the user's code."""
    failures: list[str] = []
    assert metrics_of(Odd(metrics=lambda rollouts: {"x": 1 / 0}), [ROLLOUT], failures) == {}
    assert "metrics() of the task odd raises on 1 rollouts: ZeroDivisionError" in failures[0]
    assert f"({__file__}:" in failures[0]


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (Sample("a", [{"role": "user", "content": None}]), "the prompt of sample a: the content of message 0 is None"),
        (Sample("a", [{"role": "user", "content": "x\ud83d"}]), "lone surrogate.*character 1"),
        (Sample("a", [{"role": "user"}]), "content of message 0 is None"),
        (Sample("a", "hello"), "the prompt of sample a is a str"),
        (Sample("a", []), "has no message"),
        (Sample("a", ASK, [{"role": "assistant", "content": 12}]), "the completion of sample a.*a int: 12"),
        (Sample("a", ASK, [{"role": "assistant", "content": "x", "reasoning": 3}]), "the reasoning of message 0 is a int: 3"),
        (Sample("a", ASK, [{"role": "assistant", "content": "", "tool_calls": "find"}]), "the tool_calls of message 0 are a str"),
        (Sample("a", ASK, [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "find"}}]}]), "not a list of calls"),
        (Sample(7, ASK), "the id of sample 0 is a int: 7"),
        (Sample("a", ASK, data=[1]), "the data of sample a"),
        ({"prompt": "?"}, "item 0 is a dict"),
        (None, "item 0 is None"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("job", ["sft", "rl", "eval"])
def test_a_sample_that_cannot_be_used_is_named(sample, words, job):
    """By the hook that yields it, its id and the message, instead of a stack trace of a tokenizer."""
    task = Odd(**{f"{job}_samples": lambda split, seed: [sample]})
    with pytest.raises(TaskError, match=f"{job}_samples.*{words}"):
        list(read_samples(task, job, "train", 0, extent=ALL))


def test_hooks_that_raise_or_return_no_samples_are_named():
    """A generator that breaks off says after how many samples."""

    def breaks(split, seed):
        yield Sample("a", ASK)
        raise OSError("the disk is gone")

    async def asynchronous(split, seed):
        return []

    for hook, words in (
        (breaks, r"raises after 1 samples: OSError: the disk is gone \(.*test_scoring.py:"),
        (asynchronous, "returned a coroutine"),
        (lambda split, seed: None, "returned None"),
        (lambda split: [], "raises: TypeError"),
    ):
        with pytest.raises(TaskError, match=words):
            list(read_samples(Odd(rl_samples=hook), "rl", "train", 0, extent=ALL))


def test_an_environment_may_read_the_reasoning_of_a_reply_and_otherwise_gets_its_text():
    class Plain(Environment):
        def step(self, reply):
            return Observation(f"you said {reply}")

    class Attentive(Plain):
        def respond(self, reply):
            return Observation(f"you thought {reply['reasoning']}")

    reply = {"role": "assistant", "content": "yes", "reasoning": "why not"}
    assert take_step(Plain(), reply, ROLLOUT.sample, 1).content == "you said yes"
    assert take_step(Attentive(), reply, ROLLOUT.sample, 1).content == "you thought why not"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda reply: None, "turn 2 returned None, which is no Observation"),
        (lambda reply: "go on", "which is no Observation"),
        (lambda reply: Observation(None), "the content of its observation is None"),
        (lambda reply: Observation("\udc00"), "lone surrogate"),
        (lambda reply: reply.fail, "raises on sample s-1, turn 2: AttributeError"),
    ],
)
def test_an_environment_that_answers_nonsense_is_named_with_sample_and_turn(answer, words):
    """An observation that ends the episode needs no content."""

    class World:
        step = staticmethod(answer)

    with pytest.raises(TaskError, match=f"the environment World.*{words}"):
        take_step(World(), {"role": "assistant", "content": "a"}, ROLLOUT.sample, 2)
    World.step = staticmethod(lambda reply: Observation(None, done=True))
    assert take_step(World(), {"role": "assistant", "content": "a"}, ROLLOUT.sample, 2).done
    with pytest.raises(TaskError, match="no Environment"):
        make_environment(Odd(environment=lambda sample: "world"), ROLLOUT.sample)


def test_a_batch_asks_a_curriculum_once_for_each_sample():
    """All rollouts of a group are of one sample, whatever the task remembers in between."""
    asked = []

    class Counting(TaskPlugin):
        def current_sample(self, sample):
            asked.append(sample.id)
            return Sample(f"{sample.id}/{len(asked)}", ASK)

    samples = [Sample("a", ASK), Sample("a", ASK), Sample("b", ASK), Sample("a", ASK)]
    found = current_samples(Counting(), samples, lambda state: state)
    assert [sample.id for sample in found] == ["a/1", "a/1", "b/2", "a/1"]


def test_processes_that_train_together_have_the_level_of_the_first():
    """Its state is restored in the others before they are asked."""

    class Levelled(TaskPlugin):
        level = 0

        def state(self):
            return {"level": self.level}

        def restore(self, state):
            self.level = state["level"]

        def current_sample(self, sample):
            return Sample(f"{sample.id}/{self.level}", ASK)

    (found,) = current_samples(Levelled(), [Sample("a", ASK)], lambda state: {"level": 3})
    assert found.id == "a/3"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "item 0 is None"),
        (Sample("", ASK), "is empty"),
        (KeyError("level"), r"raises on sample s-1: KeyError"),
    ],
)
def test_a_curriculum_that_returns_no_sample_is_named(answer, says):
    """The hook, the sample and what came."""

    class Wrong(TaskPlugin):
        name = "wrong"

        def current_sample(self, sample):
            if isinstance(answer, Exception):
                raise answer
            return answer

    with pytest.raises(TaskError, match=rf"current_sample\(\) of the task wrong.*{says}"):
        current_samples(Wrong(), [Sample("s-1", ASK)], lambda state: state)
