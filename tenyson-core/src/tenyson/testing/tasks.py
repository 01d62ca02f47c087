"""The contract of a task: what jobs, resumes and other machines rely on, as tests to subclass (needs pytest).

class TestMine(TaskContract):
    @pytest.fixture
    def task(self):
        return MyTask()
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from tenyson.errors import TaskError
from tenyson.plugins.job_kind import JobKind
from tenyson.plugins.job_kinds import JOB_KINDS
from tenyson.tasks import PreferenceSample, Rollout, Sample, TaskPlugin
from tenyson.tasks.checks import awaited, make_environment, take_step
from tenyson.tasks.sample import Message

LOOKED_AT = 200
"""Samples of a split that are looked at."""


class TaskContract:
    """Subclass it as `Test...` and give the fixture `task`."""

    splits = ("train", "eval")
    seed = 7

    @pytest.fixture
    def task(self) -> TaskPlugin:
        """The task."""
        raise NotImplementedError("give a fixture `task`")

    def test_it_is_made_again_from_its_arguments(self, task: TaskPlugin) -> None:
        """They travel to other machines as JSON."""
        arguments = json.loads(json.dumps(task.arguments))
        again = type(task)(**arguments)
        assert _ids(again, self.splits, self.seed) == _ids(task, self.splits, self.seed)

    def test_a_seed_gives_the_same_samples_again(self, task: TaskPlugin) -> None:
        """A resumed job reads them once more."""
        first = [_all(task, kind, split, self.seed) for kind, split in _served(task, self.splits)]
        second = [_all(task, kind, split, self.seed) for kind, split in _served(task, self.splits)]
        assert first, "the task serves no job: it has no samples"
        assert first == second

    def test_samples_of_a_split_have_ids_of_their_own(self, task: TaskPlugin) -> None:
        """Rollouts are stored and compared by them."""
        for kind, split in _served(task, self.splits):
            ids = [sample.id for sample in _take(task, kind, split, self.seed)]
            assert ids, f"no {kind.name} samples in {split}"
            assert len(ids) == len(set(ids)), f"{kind.name} samples of {split} share ids"

    def test_what_is_measured_on_was_not_trained_on(self, task: TaskPlugin) -> None:
        """No sample, which is its prompt and its data, is in both splits of one kind."""
        served = _served(task, self.splits)
        for kind in _kinds():
            if kind.trains and (kind, "train") in served and (kind, "eval") in served:
                seen = [
                    {
                        json.dumps([sample.prompt, sample.data])
                        for sample in _take(task, kind, split, self.seed)
                    }
                    for split in ("train", "eval")
                ]
                assert not seen[0] & seen[1], f"{kind.name}: train and eval share samples"

    def test_samples_can_be_written_down(self, task: TaskPlugin) -> None:
        """They are JSON; what is imitated has a completion."""
        for kind, split in _served(task, self.splits):
            for sample in _take(task, kind, split, self.seed):
                json.dumps(asdict(sample))
                assert kind.name != "sft" or sample.completion, f"{sample.id}: nothing to imitate"

    def test_preferences_have_a_better_and_a_worse_answer(self, task: TaskPlugin) -> None:
        """Nothing is learnt from two equal answers, and an answer without text teaches to say nothing."""
        for kind, split in _served(task, self.splits):
            if kind.samples != "preference_samples":
                continue
            for sample in _take(task, kind, split, self.seed):
                assert isinstance(sample, PreferenceSample), f"{sample.id}: no PreferenceSample"
                for name, answer in (("chosen", sample.chosen), ("rejected", sample.rejected)):
                    said = [
                        bool(one["content"].strip() or one.get("tool_calls"))
                        for one in answer
                        if one["role"] == "assistant"
                    ]
                    assert any(said), f"{sample.id}: the {name} answer is empty"
                    assert all(said), f"{sample.id}: the {name} answer has an empty reply"
                assert list(sample.chosen) != list(sample.rejected), f"{sample.id}: both answers are the same"

    def test_rewards_have_names_of_their_own_and_take_any_answer(self, task: TaskPlugin) -> None:
        """A model may say anything: a reward is a number or nothing, and does not raise."""
        rewards = task.rewards()
        assert len({reward.name for reward in rewards}) == len(rewards)
        played = [(kind, split) for kind, split in _served(task, self.splits) if kind.generates]
        if not played:
            return
        sample = next(_take(task, *played[0], self.seed))
        for text in ("", "x", "\N{SNOWMAN}\0" * 50, "a long answer " * 200):
            rollout = _played(task, sample, text)
            for reward in rewards:
                value = reward(rollout)
                assert value is None or isinstance(value, int | float), f"{reward.name} gave {value!r}"

    def test_what_it_remembers_can_be_kept(self, task: TaskPlugin) -> None:
        """Its state is JSON, and a new task continues from it."""
        state = json.loads(json.dumps(dict(task.state())))
        again = type(task)(**task.arguments)
        again.restore(state)
        assert dict(again.state()) == state


def _played(task: TaskPlugin, sample: Sample, text: str) -> Rollout:
    """One reply, and what the environment says to it, where there is one."""
    messages: list[Message] = [{"role": "assistant", "content": text}]
    environment = make_environment(task, sample)
    if environment is None:
        return Rollout(sample, messages)
    try:
        awaited(environment.reset())
        answer = take_step(environment, messages[0], sample, 1)
        return Rollout(sample, messages, "stop" if answer.done else "turns", awaited(environment.info()))
    finally:
        awaited(environment.close())


def _kinds() -> list[JobKind]:
    """The kinds of job that read samples; of those that read the same ones, the first."""
    first: dict[str, JobKind] = {}
    for kind in JOB_KINDS.values():
        if kind.samples:
            first.setdefault(kind.samples, kind)
    return list(first.values())


def _served(task: TaskPlugin, splits: tuple[str, ...]) -> list[tuple[JobKind, str]]:
    """The kinds of job that a task has samples for, with their splits."""
    found = []
    kinds = [kind for kind in _kinds() if hasattr(task, kind.samples)]
    for kind, split in itertools.product(kinds, splits):
        try:
            next(_take(task, kind, split, 0), None)
        except TaskError:
            continue
        found.append((kind, split))
    return found


def _take(task: TaskPlugin, kind: JobKind, split: str, seed: int) -> Iterator[Sample]:
    return itertools.islice(iter(getattr(task, kind.samples)(split, seed)), LOOKED_AT)


def _all(task: TaskPlugin, kind: JobKind, split: str, seed: int) -> list[dict[str, object]]:
    return [asdict(sample) for sample in _take(task, kind, split, seed)]


def _ids(task: TaskPlugin, splits: tuple[str, ...], seed: int) -> list[list[str]]:
    return [[sample.id for sample in _take(task, kind, split, seed)] for kind, split in _served(task, splits)]
