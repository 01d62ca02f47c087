"""Environments in rollouts: async or not, side by side, reset once and closed once, whatever happens."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import closing

import pytest
from tests.engines.test_tools import HOW, played, written

from tenyson import rewards
from tenyson.engines.play import play
from tenyson.engines.rollouts.limits import Limits
from tenyson.engines.rollouts.side_by_side import Call, SideBySide
from tenyson.tasks import Environment, Observation, Sample, TaskPlugin

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    from transformers import AutoTokenizer

    from tenyson.engines.renderers import Renderer
    from tenyson.testing.tiny import build

    directory = tmp_path_factory.mktemp("tiny")
    build(directory, 0)
    return Renderer(AutoTokenizer.from_pretrained(directory))


class Noted(Environment):
    """Notes what is done to it; the sample's data says what goes wrong where."""

    def __init__(self, notes, **does):
        self.notes, self.does, self.steps = notes, does, 0

    def reset(self):
        self.notes.append("reset")
        return Observation(self.does["first"]) if "first" in self.does else None

    def step(self, reply):
        self.steps += 1
        self.notes.append(f"step {reply}")
        if self.does.get("at") == self.steps:
            self.does["fault"]()
        return Observation(f"turn {self.steps}", done=self.steps == 3, reward=0.5)

    def close(self):
        self.notes.append("close")
        self.does.get("close", int)()


class Later(Noted):
    """The same, async."""

    async def reset(self):
        return super().reset()

    async def step(self, reply):
        await asyncio.sleep(0)
        return super().step(reply)

    async def info(self):
        return {"steps": self.steps}

    async def close(self):
        super().close()


class Task(TaskPlugin):
    def __init__(self, kind=Noted, by_sample=None, **does):
        super().__init__()
        self.kind, self.does, self.notes, self.by_sample = kind, does, {}, by_sample or {}

    def environment(self, sample):
        self.notes[sample.id] = []
        return self.kind(self.notes[sample.id], **self.does, **self.by_sample.get(sample.id, {}))


def asked(*ids):
    return [Sample(id=one, prompt=[{"role": "user", "content": "go"}]) for one in ids]


def replies(renderer, number=5):
    return [written(renderer, f"r{turn}") for turn in range(number)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", [Noted, Later])
def test_an_environment_is_reset_once_and_closed_once(how, kind, renderer):
    """In this order, async or not; what `reset` says stands after the prompt, and the steps' rewards are kept."""
    task = Task(kind, first="begin")
    found, failures = played(how, renderer, task, replies(renderer), asked("a", "b"))
    assert not failures
    for one in found:
        assert task.notes[one.rollout.sample.id] == ["reset", "step r0", "step r1", "step r2", "close"]
        assert renderer.raw(one.prompt_ids) == "<user>go<user>begin<model>"
        assert one.rollout.step_rewards == (0.5, 0.5, 0.5)
        assert rewards.environment()(one.rollout) == 1.5
        assert one.rollout.info == ({"steps": 3} if kind is Later else {})
        assert one.rollout.replies == ["r0", "r1", "r2"]


def fault_of(kind):
    def leave():
        raise SystemExit(3)

    def hang():
        time.sleep(1.5)

    def fail():
        raise OSError("no route")

    return {"exit": leave, "hang": hang, "raise": fail}[kind]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", [Noted, Later])
@pytest.mark.parametrize(("fault", "words"), [("exit", "SystemExit: 3"), ("raise", "OSError: no route")])
def test_an_environment_that_fails_breaks_off_its_own_rollout_and_is_closed(
    how, kind, fault, words, renderer
):
    task = Task(kind, by_sample={"bad": {"at": 2, "fault": fault_of(fault)}})
    found, failures = played(how, renderer, task, replies(renderer), asked("good", "bad", "fine"))
    assert [one.rollout.sample.id for one in found] == ["good", "fine"]
    [failure] = failures
    assert failure.sample.id == "bad"
    assert "on sample bad, turn 2" in failure.error.message
    assert words in failure.error.message
    assert [notes.count("close") for notes in task.notes.values()] == [1, 1, 1]


@pytest.mark.parametrize("how", HOW)
def test_a_step_that_hangs_is_left_behind_after_its_time(how, renderer):
    """The other rollouts do not wait for it longer than that, and its environment is closed as well."""
    task = Task(by_sample={"slow": {"at": 1, "fault": fault_of("hang")}})
    begun = time.monotonic()
    found, failures = played(
        how,
        renderer,
        task,
        replies(renderer),
        asked("slow", "good"),
        limits=Limits(step_seconds=0.3, retries=0),
    )
    assert time.monotonic() - begun < 1.2
    assert [one.rollout.sample.id for one in found] == ["good"]
    assert failures[0].error.message == "the environment Noted on sample slow, turn 1: no answer within 0.3 s"
    assert task.notes["slow"].count("close") == 1


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_steps_of_different_rollouts_do_not_wait_for_each_other(how, kind, renderer):
    """64 environments that take 0.3 s for a turn take little more than that together."""

    class Blocking(Environment):
        def step(self, reply):
            time.sleep(0.3)
            return Observation(done=True)

    class Waiting(Environment):
        async def step(self, reply):
            await asyncio.sleep(0.3)
            return Observation(done=True)

    class Slow(TaskPlugin):
        def environment(self, sample):
            return Blocking() if kind == "blocking" else Waiting()

    begun = time.monotonic()
    found, _ = played(how, renderer, Slow(), replies(renderer), asked(*map(str, range(64))))
    assert len(found) == 64
    assert time.monotonic() - begun < 3, "one after the other they would take 19 s"


def test_with_a_concurrency_of_one_steps_keep_the_order_of_the_rollouts(renderer):
    """So one that draws from a generator of the whole process draws the same each time."""
    order = []

    class Numbered(Environment):
        def __init__(self, name):
            self.name = name

        def step(self, reply):
            time.sleep(0.004)
            order.append(self.name)
            return Observation(done=len(order) > 16)

    class Many(TaskPlugin):
        def environment(self, sample):
            return Numbered(sample.id)

    names = list("abcdefgh")
    played("together", renderer, Many(), replies(renderer), asked(*names), limits=Limits(concurrency=1))
    assert order == names * 3


def test_a_stop_between_two_turns_closes_every_environment(renderer):
    task = Task()

    def generate(prompts, turn):
        if turn == 1:
            raise InterruptedError
        return [written(renderer, "r")] * len(prompts)

    with pytest.raises(InterruptedError):
        play(task, asked("a", "b"), renderer, generate, max_turns=5)
    assert [notes[-1] for notes in task.notes.values()] == ["close", "close"]
    assert [notes.count("close") for notes in task.notes.values()] == [1, 1]


@pytest.mark.parametrize("how", HOW)
def test_a_close_that_raises_or_hangs_costs_nothing(how, renderer):
    task = Task(by_sample={"a": {"close": fault_of("raise")}, "b": {"close": fault_of("hang")}})
    found, failures = played(
        how,
        renderer,
        task,
        replies(renderer),
        asked("a", "b", "c"),
        limits=Limits(step_seconds=0.3, retries=0),
    )
    assert len(found) == 3
    assert not failures


@pytest.mark.parametrize("how", HOW)
def test_several_messages_are_shown_in_order(how, renderer):
    class Talkative(Environment):
        def step(self, reply):
            said = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
            return Observation(messages=said, done=reply == "r1")

    class Chat(TaskPlugin):
        def environment(self, sample):
            return Talkative()

    [found], _ = played(how, renderer, Chat(), replies(renderer), asked("a"))
    assert renderer.raw(found.completion_ids) == "r0<eos><user>one<user>two<model>r1<eos>"
    assert [one["role"] for one in found.rollout.messages] == ["assistant", "user", "user", "assistant"]


@pytest.mark.parametrize("how", HOW)
def test_nothing_is_learnt_from_a_reply_that_played_another_part(how, renderer):
    """It is shown and kept, and stands in the trajectory as what the model did not write."""

    class Both(Environment):
        def step(self, reply):
            return Observation("next", done=reply == "r2", trained=reply != "r1")

    class Seats(TaskPlugin):
        def environment(self, sample):
            return Both()

    [found], _ = played(how, renderer, Seats(), replies(renderer), asked("a"))
    assert renderer.raw(found.completion_ids) == "r0<eos><user>next<model>r1<eos><user>next<model>r2<eos>"
    trained = [one for one, mask in zip(found.completion_ids, found.mask, strict=True) if mask]
    assert renderer.raw(trained) == "r0<eos>r2<eos>"
    assert found.rollout.tokens == 6
    assert found.rollout.replies == ["r0", "r1", "r2"]
    if found.logprobs is not None:
        assert len(found.logprobs) == len(found.mask)
        assert all(value == 0 for value, mask in zip(found.logprobs, found.mask, strict=True) if not mask)


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (lambda: Observation("x" * 300_000), "300,000 characters"),
        (lambda: Observation("half \ud800"), "lone surrogate"),
        (lambda: Observation("fine", reward=float("nan")), "no finite number"),
        (lambda: Observation(messages=[{"role": "system", "content": "obey"}]), "has the role 'system'"),
        (lambda: Observation(messages="hello"), "not a list of messages"),
        (lambda: "fine", "no Observation"),
    ],
)
def test_an_observation_that_cannot_be_shown_is_refused(renderer, observation, words):
    class Odd(Environment):
        def step(self, reply):
            return observation()

    class Oddities(TaskPlugin):
        def environment(self, sample):
            return Odd()

    found, failures = played("together", renderer, Oddities(), replies(renderer), asked("a"))
    assert not found
    assert words in failures[0].error.message


def test_no_thread_stays(renderer):
    before = threading.active_count()
    played("together", renderer, Task(Later), replies(renderer), asked("a", "b"))
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def flaky(times, fault="raise", at=2, kind=Noted):
    """A task whose environment of sample "bad" breaks so many times; each try has notes of its own."""

    class Flaky(Task):
        def __init__(self):
            super().__init__(kind)
            self.tries = []

        def environment(self, sample):
            notes, does = [], {}
            if sample.id == "bad":
                does = {"at": at, "fault": fault_of(fault)} if len(self.tries) < times else {}
                self.tries.append(notes)
            return self.kind(notes, **does)

    return Flaky()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", [Noted, Later])
def test_what_the_world_broke_is_tried_again_with_the_same_replies(how, kind, renderer):
    """On a fresh environment, without asking the model again for what it has said; each environment is closed once."""
    task = flaky(1, kind=kind)
    begun = time.monotonic()
    found, broken = played(
        how, renderer, task, replies(renderer), asked("bad", "good"), limits=Limits(retries=2)
    )
    assert time.monotonic() - begun < 5
    assert not broken
    [bad, good] = found
    assert (bad.completion_ids, bad.mask) == (good.completion_ids, good.mask)
    assert bad.rollout.step_rewards == good.rollout.step_rewards
    assert [one.kind for one in bad.rollout.retried] == ["OSError"]
    assert good.rollout.retried == ()
    first = ["reset", "step r0", "step r1", "close"]
    assert task.tries == [first, ["reset", "step r0", "step r1", "step r2", "close"]]


@pytest.mark.parametrize("how", HOW)
def test_a_rollout_that_breaks_again_and_again_says_how(how, renderer):
    """Source, class, message and the last lines of the traceback; what was played up to there is kept."""
    task = flaky(9)
    found, [bad] = played(
        how, renderer, task, replies(renderer), asked("good", "bad"), limits=Limits(retries=1)
    )
    assert [one.rollout.sample.id for one in found] == ["good"]
    assert (bad.finish_reason, bad.error.source, bad.error.kind) == ("error", "environment", "OSError")
    assert "the environment Noted raises on sample bad, turn 2: OSError: no route" in bad.error.message
    assert 'raise OSError("no route")' in bad.error.traceback
    assert bad.replies == ["r0", "r1"]
    assert [one.kind for one in bad.retried] == ["OSError"]
    assert [notes.count("close") for notes in task.tries] == [1, 1]


@pytest.mark.parametrize("how", HOW)
def test_where_a_fresh_environment_answers_otherwise_the_model_is_asked_from_there(how, renderer):
    """Replies that were never given to that answer are dropped."""

    class Moody(Environment):
        def __init__(self, number):
            self.number, self.steps = number, 0

        def step(self, reply):
            self.steps += 1
            if self.number == 0 and self.steps == 3:
                raise OSError("gone")
            return Observation(f"mood {self.number if self.steps > 1 else 0}", done=self.steps == 4)

    made = []

    class Moods(TaskPlugin):
        def environment(self, sample):
            made.append(Moody(len(made)))
            return made[-1]

    task = Moods()
    found, _ = played(how, renderer, task, replies(renderer, 9), asked("a"), max_turns=9, limits=Limits())
    assert renderer.raw(found[0].completion_ids) == (
        "r0<eos><user>mood 0<model>r1<eos><user>mood 1<model>r3<eos><user>mood 1<model>r4<eos>"
    )


def test_a_rollout_has_a_time_of_its_own(renderer):
    """Each step is quick; all of them together are not. It is not tried again: its time is over."""

    class Endless(Environment):
        def step(self, reply):
            time.sleep(0.1)
            return Observation("more")

    class Long(TaskPlugin):
        def environment(self, sample):
            return Endless()

    begun = time.monotonic()
    _, [broken] = played(
        "together", renderer, Long(), replies(renderer, 99), asked("a"), 99, Limits(rollout_seconds=0.5)
    )
    assert time.monotonic() - begun < 3
    assert broken.error.kind == "TimeoutError"
    assert broken.retried == ()


def test_async_calls_that_end_at_once_are_counted_once():
    """One of them may end before the thread that began it looks again; with one place, a call that is lost would block all."""
    side = SideBySide(1)

    async def at_once(number):
        return number

    def call(number):
        return Call(number, lambda: at_once(number), 5.0)

    with closing(side):
        for _ in range(20):
            found = side.run([call(number) for number in range(50)])
            assert [one.value for one in found] == list(range(50))
        assert side.take() == []


def test_an_environment_that_is_made_too_late_is_closed_too(renderer):
    made = []

    class Late(Task):
        def environment(self, sample):
            time.sleep(0.4)
            made.append(Noted([]))
            return made[-1]

    found, failures = played(
        "together",
        renderer,
        Late(),
        replies(renderer),
        asked("a"),
        limits=Limits(step_seconds=0.1, retries=0),
    )
    assert not found
    assert "no answer within 0.1 s" in failures[0].error.message
    deadline = time.monotonic() + 5
    while not (made and made[0].notes) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made[0].notes == ["close"]


def test_what_comes_just_after_its_time_is_given_to_who_discards_it():
    """Between the limit and the return there is no moment at which it belongs to nobody."""
    discarded, limit = [], 0.05
    for wait in (0.0495, 0.05, 0.0505, 0.2):
        with closing(SideBySide(1)) as side:
            [ended] = side.run(
                [Call("a", lambda wait=wait: time.sleep(wait) or object(), limit, discarded.append)]
            )
            deadline = time.monotonic() + 5
            while ended.fault and not discarded and time.monotonic() < deadline:
                time.sleep(0.001)
        assert (ended.value is None) == bool(discarded)
        discarded.clear()


@pytest.mark.parametrize("how", HOW)
def test_a_conversation_that_the_model_cannot_read_any_more_ends(how, renderer):
    """As one that ran out of tokens, which it did."""

    class Chatty(Environment):
        def step(self, reply):
            return Observation("x" * 20)

    class Chat(TaskPlugin):
        def environment(self, sample):
            return Chatty()

    [found], _ = played(
        how, renderer, Chat(), replies(renderer, 9), asked("a"), 9, Limits(context=80, retries=0)
    )
    assert found.rollout.finish_reason == "length"
    assert 2 <= len(found.rollout.replies) < 9
    assert len(found.prompt_ids) + len(found.completion_ids) < 80 + 25
    _, [broken] = played(
        how, renderer, Task(first="x" * 100), replies(renderer), asked("a"), 9, Limits(context=80, retries=0)
    )
    assert "has 105 tokens with what reset() adds to it, and the model reads 80" in broken.error.message
