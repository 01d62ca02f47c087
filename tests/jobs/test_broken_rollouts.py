"""Rollouts that the world breaks in GRPO: recorded with their cause, left out with their whole group, and no reason to end a run."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest
import torch

from tenyson.errors import TaskError
from tenyson.jobs.rl import RLJob
from tenyson.tasks import Environment, Observation, Reward, Sample, TaskPlugin
from tenyson.telemetry.control import Asked

pytestmark = pytest.mark.train

GRPO = {"max_steps": 3, "batch_size": 8, "num_generations": 4, "learning_rate": 0.01, "logging_steps": 1}
GRPO |= {"preflight_groups": 0}


class Game(Environment):
    """Two turns."""

    def __init__(self, sample, breaks):
        self.sample, self.breaks, self.turns = sample, breaks, 0

    def step(self, reply):
        self.turns += 1
        if self.turns == 2:
            self.breaks(self.sample)
        return Observation("a", done=self.turns == 2)


class Task(TaskPlugin):
    name = "games"

    def __init__(self, breaks=lambda sample: None, reward=lambda rollout: float(len(rollout.text) % 3)):
        super().__init__()
        self.breaks, self.reward = breaks, reward

    def samples(self, split, seed):
        return [Sample(f"{split}-{n}", [{"role": "user", "content": "abcd"[n % 4]}]) for n in range(16)]

    rl_samples = eval_samples = samples

    def environment(self, sample):
        return Game(sample, self.breaks)

    def rewards(self):
        return [Reward("length", self.reward)]


def breaking_once_a_batch():
    """Breaks the third of eight rollouts of each batch."""
    calls = []

    def breaks(sample):
        calls.append(sample.id)
        if len(calls) % 8 == 3:
            raise ConnectionError("the server is gone")

    return breaks, calls


def test_a_group_with_a_broken_rollout_is_recorded_and_trains_nothing(configure, tmp_path):
    """Its cause is in SQL; the other rollouts of the group keep their rewards, and say why they are not trained on."""
    breaks, _ = breaking_once_a_batch()
    url = f"sqlite:///{tmp_path}/t.db"
    limits = {"retries": 0, "max_failed": 0.5}
    job = RLJob(
        configure("rl", training=GRPO, rollouts=limits, telemetry={"db_url": url, "sinks": ["jsonl", "sql"]}),
        Task(breaks),
    )
    assert job.run().status == "success"
    with sqlite3.connect(tmp_path / "t.db") as db:
        groups = db.execute(
            "SELECT group_id, count(*), sum(finish_reason = 'error'), sum(trained), count(reward), count(advantage) "
            "FROM rollouts GROUP BY group_id, step ORDER BY step"
        ).fetchall()
        errors = db.execute(
            "SELECT source, error_class, message, traceback, retried FROM rollout_errors"
        ).fetchall()
        causes = {row[0] for row in db.execute("SELECT dropped FROM rollouts WHERE advantage IS NULL")}
    broken = [one for one in groups if one[2]]
    assert len(groups) == 6
    assert [one[1:] for one in broken] == [(4, 1, 0, 3, 0)] * 3
    assert len(errors) == 3
    for source, kind, message, traceback, retried in errors:
        assert (source, kind, retried) == ("environment", "ConnectionError", 0)
        assert "turn 2: ConnectionError: the server is gone" in message
        assert "breaks(self.sample)" in traceback
    assert all("a rollout of its group failed: the environment Game raises" in cause for cause in causes)


def test_what_a_retry_overcomes_changes_nothing_of_the_training(configure, tmp_path):
    """The same weights to the bit as without any fault: the model is not asked again for what it has said."""
    breaks, calls = breaking_once_a_batch()
    limits = {"retries": 2}
    RLJob(configure("whole", training=GRPO), Task()).run()
    RLJob(configure("flaky", training=GRPO, rollouts=limits), Task(breaks)).run()
    assert len(calls) > 24
    whole, flaky = (
        (tmp_path / "outputs" / name / "model" / "model.safetensors").read_bytes()
        for name in ("whole", "flaky")
    )
    assert whole == flaky


def test_too_many_broken_rollouts_end_the_run_and_name_the_commonest_cause(configure, events):
    """In three batches in a row; nothing of them is trained on."""

    def breaks(sample):
        raise (ConnectionError if sample.id.endswith("1") else OSError)("gone")

    allowed = {"allow": ["environment"]}  # preflight would refuse it
    job = RLJob(configure("rl", training=GRPO, rollouts={"retries": 0}, run=allowed), Task(breaks))
    with pytest.raises(TaskError, match=r"too many rollouts failed in 3 batches in a row .*OSError"):
        job.run()
    recorded = events("rl", "RolloutFinished")
    assert len(recorded) == 24
    assert not any(one["trained"] for one in recorded)


def test_nothing_of_the_world_stays_after_a_run_that_it_broke(configure):
    """No thread, although steps hang beyond their limit."""
    release, before = threading.Event(), threading.active_count()

    def hang(sample):
        if sample.id.endswith("2"):
            release.wait(20)

    limits = {"retries": 0, "step_seconds": 0.2, "max_failed": 1.0}
    RLJob(configure("rl", training={**GRPO, "max_steps": 2}, rollouts=limits), Task(hang)).run()
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("tenyson-world"):
            thread.join(5)
    assert not [one for one in threading.enumerate() if one.name.startswith("tenyson-world")]
    assert threading.active_count() <= before + 1


def test_a_task_that_seeds_torch_or_forks_or_leaves_the_folder_costs_nobody_else_anything(
    configure, tmp_path
):
    """The trainer draws what it draws without that, to the bit; the copy of the process ends."""
    here = Path.cwd()
    once, forked = iter([True]), []

    def meddle(sample):
        torch.manual_seed(0)
        os.chdir("/")
        if next(once, False):
            forked.append(os.fork())

    RLJob(configure("whole", training=GRPO), Task()).run()
    with pytest.warns(RuntimeWarning, match="changed the working directory"):
        RLJob(configure("meddled", training=GRPO), Task(meddle)).run()
    assert Path.cwd() == here
    [child] = forked
    assert os.waitpid(child, 0) == (child, 0)
    whole, meddled = (
        (tmp_path / "outputs" / name / "model" / "model.safetensors").read_bytes()
        for name in ("whole", "meddled")
    )
    assert whole == meddled


def test_too_many_broken_rollouts_can_pause_the_run_until_the_world_works_again(configure, tmp_path):
    """`tenyson resume` continues it; the batch that was under way is played again."""
    broken = threading.Event()
    broken.set()

    def breaks(sample):
        if broken.is_set():
            raise ConnectionError("the server is gone")

    limits = {"retries": 0, "on_failed": "pause"}
    said = []

    class Watching(RLJob):
        def execute(self, context):
            say = context.say

            def heard(message, level="info"):
                said.append(message)
                say(message, level)
                if message.startswith("paused"):
                    broken.clear()
                    context.controls.accept(Asked("resume"))

            object.__setattr__(context, "say", heard)
            return super().execute(context)

    config = configure("rl", training=GRPO, rollouts=limits, run={"allow": ["environment"]})
    result = Watching(config, Task(breaks)).run()
    assert result.status == "success"
    assert any("Training pauses" in one and "ConnectionError" in one for one in said)
    assert "paused after 0 steps" in said
    assert "resumed after 0 steps" in said
