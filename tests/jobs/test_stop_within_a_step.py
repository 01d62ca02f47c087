"""A stop is heard between turns and micro-batches: the step under way is dropped whole, and a resume is exact to the bit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))

from climb_task import Climb, ClimbTask

from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.telemetry.control.state import StopSignal

pytestmark = pytest.mark.train

GRPO = {
    "max_steps": 4,
    "batch_size": 4,
    "num_generations": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 0.01,
}
GRPO |= {"logging_steps": 1, "preflight_groups": 0, "save_steps": 100}


class Stopping(ClimbTask):
    """Asks for a stop in the middle of the `at`-th conversation's second turn."""

    def __init__(self, stop=None, at=0, reason="SIGTERM"):
        super().__init__()
        self.stop, self.at, self.reason, self.begun = stop, at, reason, 0

    def environment(self, sample):
        task = self

        class Watched(Climb):
            def step(self, reply):
                # Preflight plays as well, before training begins.
                if task.stop is not None and task.stop.begun and self._turn == 1:
                    task.begun += 1
                    if task.begun == task.at:
                        task.stop.set(task.reason)
                return super().step(reply)

        return Watched(sample.data["start"])


@pytest.fixture
def train(configure, tmp_path):
    def run(run_id, task, stop=None, **training):
        config = configure(run_id, training=GRPO | training, generation={"max_turns": 3, "max_new_tokens": 6})
        return RLJob(config, task).run(stop)

    return run


def weights(folder):
    from safetensors.torch import load_file

    [file] = [*folder.glob("model/*.safetensors"), *folder.glob("adapter/*.safetensors")]
    return {name: tensor.tolist() for name, tensor in load_file(file).items()}


def conversations(folder):
    """What was trained on, by step: an attempt that repeats a step replaces it."""
    found = {}
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "RolloutFinished" and event["training"]:
            found.setdefault(event["step"], []).append(
                (event["sample_id"], event["completion"], event["advantage"])
            )
    return found


@pytest.mark.parametrize("how", ["turn", "micro-batch"])
def test_a_stop_in_the_middle_of_a_step_drops_it_and_the_resume_is_the_same_training(
    train, tmp_path, monkeypatch, how
):
    """The checkpoint is of the last boundary; numbers, conversations and weights are those of an uninterrupted run."""
    whole = train("whole", Stopping())
    assert whole.status == "success"
    stop = StopSignal()
    played = Stopping()
    train_first = conversations(tmp_path / "outputs" / "whole")
    if how == "turn":
        played = Stopping(stop, at=sum(len(train_first[step]) for step in (0, 1)) + 1)
    else:
        from tenyson.jobs.trainers.rollout_trainer import RolloutTrainer

        original, calls = RolloutTrainer.training_step, []

        def counted(self, *arguments, **named):
            found = original(self, *arguments, **named)
            calls.append(self.state.global_step)
            if calls.count(2) == 1:
                stop.set("SIGTERM")
            return found

        monkeypatch.setattr(RolloutTrainer, "training_step", counted)
    stopped = train("cut", played, stop)
    folder = tmp_path / "outputs" / "cut"
    assert (stopped.status, stopped.stop_reason) == ("stopped", "SIGTERM")
    assert json.loads((folder / "stopped.json").read_text())["step"] == 2
    assert (folder / "checkpoints" / "LATEST").read_text() == "step-2\n"
    assert (2 in conversations(folder)) == (how == "micro-batch")
    monkeypatch.undo()
    (folder / "events.jsonl").rename(folder / "first.jsonl")
    again = train("cut", Stopping(), resume_from_checkpoint="latest")
    assert again.status == "success"
    after = conversations(folder)
    assert after == {step: found for step, found in train_first.items() if step >= 2}
    assert weights(folder) == weights(tmp_path / "outputs" / "whole")


def test_a_stop_in_the_middle_of_the_first_step_leaves_nothing_to_resume_and_says_so(train, tmp_path):
    """No checkpoint of a step that never was."""
    stop = StopSignal()
    result = train("first", Stopping(stop, at=1), stop)
    folder = tmp_path / "outputs" / "first"
    assert result.status == "stopped"
    assert json.loads((folder / "stopped.json").read_text())["step"] == 0
    assert not list((folder / "checkpoints").glob("step-*"))


def test_an_evaluation_stops_between_two_turns_and_counts_no_half_played_batch(configure, tmp_path):
    """What was measured is over whole batches."""
    stop = StopSignal()
    config = configure(
        "eval", evaluation={"samples": 12, "batch_size": 4}, generation={"max_turns": 3, "max_new_tokens": 4}
    )
    result = EvalJob(config, Stopping(stop, at=6, reason="manual stop")).run(stop)
    assert (result.status, result.stop_reason) == ("success", "manual stop")
    data = json.loads((tmp_path / "outputs" / "eval" / "results.json").read_text())
    assert data["metadata"]["rollouts"] == 4
