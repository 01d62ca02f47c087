"""The trial of preflight: environment, tools and rewards, each tried once before the first step, and what it leaves behind: nothing."""

from __future__ import annotations

import random
import threading

import numpy
import pytest
from tests.fakes.chat_server import ChatServer

from tenyson import rewards
from tenyson.config.schema import Config
from tenyson.engines.chat.chat_renderer import ChatRenderer
from tenyson.jobs.preflight.played.trial import try_task
from tenyson.tasks import Environment, Observation, Reward, Sample, TaskPlugin, Tool, ToolError, tool
from tenyson.tasks.checks import with_tools


class Room(Environment):
    """Two turns; notes what is asked of it, and breaks where `breaks` says so."""

    def __init__(self, notes, breaks=lambda call: None):
        self.notes, self.breaks = notes, breaks
        self.call("made")

    def call(self, name):
        self.notes.append(name)
        self.breaks(name)

    def reset(self):
        self.call("reset")

    def step(self, reply):
        self.call(f"step {reply!r}")
        return Observation("again", done=self.notes.count("step ''") == 2)

    def info(self):
        return {"steps": 2}

    def close(self):
        self.call("close")


class Task(TaskPlugin):
    """Samples, environment, tools and rewards as a test wants them."""

    name = "tried"

    def __init__(self, environment=lambda: None, tools=(), rewards=(), samples=None):
        super().__init__()
        self._environment, self._tools, self._rewards = environment, tools, rewards
        self.samples = samples or [Sample("train/0", [{"role": "user", "content": "?"}])]

    def environment(self, sample):
        return self._environment()

    def tools(self, sample):
        return self._tools

    def rewards(self):
        return self._rewards


@pytest.fixture
def tried():
    """What the trial of a task finds: (check, severity) and the cause with its next step."""

    def of(task, *, trains=False, **sections):
        config = Config.model_validate(
            {"model": {"name": "tiny"}, "rollouts": {"retries": 0, "step_seconds": 20}, **sections}
        )
        found = try_task(task, task.samples, ChatRenderer(), config, trains=trains)
        return [((one.check, one.severity), str(one)) for one in found]

    return of


def only(found, *kinds):
    """The texts of findings, which must be of these kinds."""
    assert [kind for kind, _ in found] == list(kinds), found
    return [text for _, text in found]


# Environments


def test_an_environment_is_made_reset_asked_and_closed_once(tried):
    """With an empty reply in each turn."""
    notes = []
    [said] = only(tried(Task(lambda: Room(notes))), ("environment", "info"))
    assert said == "environment: tried: Room"
    assert notes == ["made", "reset", "step ''", "step ''", "close"]


@pytest.mark.parametrize("call", ["made", "reset", "step ''"])
def test_an_environment_that_raises_is_named_with_the_line_and_what_to_do(tried, call):
    """Tried twice, since what the world breaks may pass; the one that broke is closed."""
    notes = []

    def breaks(name):
        if name == call:
            raise ConnectionError("the server is gone")

    [said] = only(tried(Task(lambda: Room(notes, breaks))), ("environment", "error"))
    assert "on sample train/0" in said
    assert "ConnectionError: the server is gone" in said
    assert "test_trial.py:" in said
    assert "(with an empty answer to train/0, played 2 times)" in said
    assert "Correct it" in said
    assert notes.count("made") == 2
    assert notes.count("close") == (0 if call == "made" else 2)


def test_what_passes_at_the_second_time_is_no_fault(tried):
    calls = []

    def environment():
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("no slot is free")
        return Room([])

    only(tried(Task(environment)), ("environment", "info"))


@pytest.mark.parametrize("call", ["made", "reset"])
def test_an_environment_that_hangs_is_named_with_its_limit(tried, call):
    free = threading.Event()

    def breaks(name):
        if name == call:
            free.wait(60)

    found = tried(Task(lambda: Room([], breaks)), rollouts={"retries": 0, "step_seconds": 0.2})
    free.set()
    [said] = only(found, ("environment", "error"))
    assert "no answer within 0.2 s" in said
    assert "rollouts.step_seconds" in said


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_an_environment_that_does_not_close_is_a_warning(tried, how):
    """Rollouts are not broken by it, but slots and connections stay."""
    free, notes = threading.Event(), []

    def breaks(name):
        if name == "close" and how == "hangs":
            free.wait(60)
        elif name == "close":
            raise OSError("busy")

    limits = {"retries": 0, "step_seconds": 0.5}
    found = tried(Task(lambda: Room(notes, breaks)), rollouts=limits)
    free.set()
    said, _ = only(found, ("environment", "warning"), ("environment", "info"))
    words = {"raises": "raises on sample train/0: OSError: busy", "hangs": "no answer within 0.5 s"}[how]
    assert f"close() of the environment Room{' on sample train/0' if how == 'hangs' else ''}" in said
    assert words in said
    assert notes.count("close") == 1


def test_each_source_of_a_mixture_is_tried_once(tried):
    """They may have environments of their own."""
    notes = []
    samples = [
        Sample(f"train/{n}", [{"role": "user", "content": "?"}], data={"source": "abab"[n]}) for n in range(4)
    ]
    only(tried(Task(lambda: Room(notes), samples=samples)), ("environment", "info"))
    assert notes.count("made") == 2


# Tools


def weather(city: str) -> str:
    """The weather of a city."""
    if city == "Atlantis":
        raise ToolError("there is no such city")
    if city == "Pompeii":
        raise ConnectionError("the service is away")
    return f"sunny in {city}"


def test_a_tool_is_called_with_its_example_and_never_without_one(tried):
    """In an environment that is open; a tool may send letters, so preflight says which it has not called."""
    sent, notes, at_call = [], [], []

    def send(to: str) -> str:
        """Send a letter."""
        sent.append(to)
        return "sent"

    def look(city: str) -> str:
        """Look outside."""
        at_call.append(list(notes))
        return weather(city)

    task = Task(lambda: Room(notes), [send, tool(look, example={"city": "Rome"})])
    found = dict(tried(task))
    assert set(found) == {("environment", "info"), ("tools", "info")}
    assert found["tools", "info"].startswith("tools: not called: send\n")
    assert sent == []
    assert at_call == [["made", "reset"]]
    assert notes[-1] == "close"


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.parametrize(
    ("one", "severity", "words"),
    [
        (tool(weather, example={"city": "Pompeii"}), "error",
         'the tool weather raises on sample train/0: ConnectionError: the service is away'),
        (tool(weather, example={"city": "Atlantis"}), "warning", "refuses its example, {\"city\": \"Atlantis\"}"),
        (tool(weather, example={"town": "Rome"}), "error", "does not fit its parameters: city: required"),
        (Tool("weather", "", SCHEMA, lambda town: town), "error",
         "called with the arguments that its parameters name: missing a required argument: 'town'"),
        (Tool("weather", "", SCHEMA, lambda city, day: day), "error", "missing a required argument: 'day'"),
        (Tool("weather", "", {**SCHEMA, "required": []}, lambda city: city), "warning",
         "called with the arguments that its parameters require: missing a required argument: 'city'"),
    ],
)  # fmt: skip
def test_a_tool_that_cannot_work_is_named(tried, one, severity, words):
    """Its call, its example, and parameters that do not go with the function."""
    found = [text for kind, text in tried(Task(tools=[one])) if kind == ("tools", severity)]
    assert len(found) == 1
    assert words in found[0]


def test_a_tool_that_hangs_is_named(tried):
    free = threading.Event()

    def wait() -> str:
        """Wait."""
        free.wait(60)
        return ""

    found = tried(Task(tools=[tool(wait, example={})]), rollouts={"retries": 0, "step_seconds": 0.2})
    free.set()
    assert ("tools", "error") in dict(found)
    assert "no answer within 0.2 s (called with its example, {})" in dict(found)["tools", "error"]


def test_each_tool_is_tried_although_samples_offer_different_ones(tried):
    class Mixed(Task):
        def tools(self, sample):
            return [tool(weather, example={"city": "Rome"})] if sample.id == "train/1" else []

    samples = [Sample(f"train/{n}", [{"role": "user", "content": "?"}]) for n in range(2)]
    mixed = Mixed(samples=samples)
    mixed.samples = [with_tools(mixed, one) for one in samples]
    assert "called with their examples: weather" in dict(tried(mixed))["tools", "info"]


# Rewards

GOOD = Sample("train/0", [{"role": "user", "content": "?"}], [{"role": "assistant", "content": "right"}])


def test_each_reward_is_asked_about_a_good_answer_and_an_empty_one(tried):
    """A group is whole, so that what compares it can."""
    groups = []

    def compared(group):
        groups.append([one.text for one in group])
        return [1.0] * len(group)

    task = Task(
        rewards=[
            Reward("right", lambda rollout: rollout.text == "right"),
            Reward("group", compared, group=True),
        ],
        samples=[GOOD],
    )
    [said] = only(tried(task, trains=True, training={"num_generations": 4}), ("rewards", "info"))
    assert "a good answer to train/0 and an empty answer to train/0: right 1, 0; group 1, 1" in said
    assert groups == [["right", "", "right", ""]]


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (lambda rollout: {}[rollout.text], "raises on a good answer to train/0: KeyError: 'right' ("),
        (lambda rollout: rollout.text.index("r"), "raises on an empty answer to train/0: ValueError: substring not found ("),
        (lambda rollout: float("nan"), "on a good answer to train/0 returned nan"),
        (lambda rollout: "good", "which is no number"),
    ],
)  # fmt: skip
def test_every_reward_that_fails_is_named(tried, reward, words):
    """Not only the first one, and with its line."""
    task = Task(rewards=[Reward("first", reward), Reward("second", reward)], samples=[GOOD])
    first, second = only(tried(task), ("rewards", "error"), ("rewards", "error"))
    assert "the reward first" in first
    assert "the reward second" in second
    assert words in first
    assert "A rollout may hold anything" in first
    assert "raises" not in words or "test_trial.py:" in first


def test_a_reward_that_hangs_is_named_with_its_limit(tried):
    free = threading.Event()
    slow = Reward("slow", lambda rollout: free.wait(60), seconds=0.2)
    found = tried(Task(rewards=[slow, Reward("quick", lambda rollout: 1.0)]))
    free.set()
    said, other = only(found, ("rewards", "error"), ("rewards", "info"))
    assert "the reward slow on an empty answer to train/0: no answer within 0.2 s" in said
    assert "rollouts.reward_seconds" in said
    assert "quick 1" in other


def test_a_judge_is_not_asked_but_its_key_is_looked_for(tried, monkeypatch):
    """It costs money."""
    with ChatServer(lambda body: "Points: 1") as server:
        model = rewards.JudgeModel(name="tiny", url=server.url, api_key_env="JUDGE_OPENS")
        task = Task(rewards=[rewards.judge(model, rubric={"It is short.": 1})], samples=[GOOD])
        monkeypatch.delenv("JUDGE_OPENS", raising=False)
        [said] = only(tried(task), ("rewards", "error"))
        assert "the reward judge" in said
        assert "JUDGE_OPENS is not set" in said
        assert "task.secrets" in said
        monkeypatch.setenv("JUDGE_OPENS", "a-key")
        [said] = only(tried(task), ("rewards", "info"))
        assert "judge" in said
        assert server.requests == []


def test_a_reward_of_ones_own_that_costs_something_can_be_left_out_too(tried):
    def check():
        raise FileNotFoundError("no account")

    task = Task(rewards=[Reward("paid", lambda rollout: 1 / 0, check=check)])
    [said] = only(tried(task), ("rewards", "error"))
    assert "the check of the reward paid raises: FileNotFoundError: no account" in said


# What it leaves behind


def test_random_numbers_and_the_tasks_memory_are_as_before(tried):
    """So that a training with the trial is that without it, to the bit."""

    class Counting(Task):
        count = 0

        def state(self):
            return {"count": self.count}

        def restore(self, state):
            self.count = state["count"]

    def draws(rollout):
        task.count += 1
        return random.random() + numpy.random.random()

    task = Counting(lambda: Room([], lambda _: random.random()), rewards=[Reward("drawn", draws)])
    random.seed(1)
    numpy.random.seed(1)
    expected = random.random(), numpy.random.random()
    random.seed(1)
    numpy.random.seed(1)
    tried(task)
    assert (random.random(), numpy.random.random()) == expected
    assert task.count == 0
    assert not [one for one in threading.enumerate() if one.name.startswith("tenyson") and "loop" in one.name]
