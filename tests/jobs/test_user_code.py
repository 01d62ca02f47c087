"""A task's own code goes wrong while a job runs: it is named, and what was finished is kept."""

from __future__ import annotations

import json
import math
import random

import numpy
import pytest

from tenyson.errors import TaskError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.result import JobResult
from tenyson.jobs.rl import RLJob
from tenyson.runner import main
from tenyson.tasks import Environment, Metric, Observation, Reward, Sample, TaskPlugin

pytestmark = pytest.mark.train

GRPO = {"max_steps": 6, "batch_size": 8, "num_generations": 4, "learning_rate": 0.01, "logging_steps": 1}
GRPO |= {"preflight_groups": 0, "save_steps": 4, "eval_steps": 4, "eval_samples": 4}


def length(rollout):
    """Differs between rollouts, so that something is learnt."""
    return float(len(rollout.text) % 3)


class Task(TaskPlugin):
    """Sixteen prompts, rewards and environments as a test wants them."""

    name = "fixed"

    def __init__(self, rewards=None, environment=lambda sample: None):
        super().__init__()
        self._rewards = rewards or [Reward("length", length)]
        self._environment = environment

    def samples(self, split, seed):
        return [Sample(f"{split}-{n}", [{"role": "user", "content": "abcd"[n % 4]}]) for n in range(16)]

    rl_samples = eval_samples = samples

    def environment(self, sample):
        return self._environment(sample)

    def rewards(self):
        return self._rewards


def on(name, odd, usual=length):
    """A reward that is odd on one sample."""
    return lambda rollout: odd(rollout) if rollout.sample.id == name else usual(rollout)


def results(tmp_path, run_id):
    folder = tmp_path / "outputs" / run_id
    return json.loads((folder / "results.json").read_text())


def test_rewards_of_numpy_and_torch_are_the_same_in_training_evaluation_and_the_record(
    configure, events, tmp_path
):
    """A truth value is 1 or 0 everywhere; a noisy judge is asked once for each rollout."""
    import torch

    asked = []

    def noisy(rollout):
        asked.append(rollout.sample.id)
        return numpy.float32(random.choice([0.0, 1.0]))

    task = Task(
        [
            Reward("right", lambda rollout: numpy.bool_(len(rollout.text) % 2)),
            Reward("scalar", lambda rollout: torch.tensor(0.5, requires_grad=True)),
            Reward("noisy", noisy),
        ]
    )
    EvalJob(configure("eval", evaluation={"samples": 16}), task).run()
    recorded = [event["components"] for event in events("eval", "RolloutFinished")]
    assert len(asked) - 1 == len(recorded) == 16  # and once by preflight
    for name in ("right", "scalar", "noisy"):
        mean = sum(components[name] for components in recorded) / 16
        assert results(tmp_path, "eval")["metrics"][name]["value"] == pytest.approx(mean)
    asked.clear()
    training = {**GRPO, "max_steps": 2, "eval_steps": None}
    result = RLJob(configure("rl", training=training), task).run()
    last = [event for event in events("rl", "RolloutFinished") if event["step"] == 1]
    assert len(asked) - 1 == 16
    assert result.metrics["noisy"] == pytest.approx(sum(one["components"]["noisy"] for one in last) / 8)
    assert result.metrics["reward"] == pytest.approx(sum(one["reward"] for one in last) / 8)


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (lambda rollout: math.nan, "returned nan"),
        (lambda rollout: "good", "a str: 'good', which is no number"),
        (lambda rollout: 1 / 0, r"raises on sample eval-7: ZeroDivisionError: division by zero \(.*test_user_code.py:"),
    ],
)  # fmt: skip
def test_one_odd_reward_costs_an_evaluation_no_other_rollout(configure, events, tmp_path, odd, words):
    """The job fails and names reward and sample; results.json holds the others, marked as partial."""
    task = Task([Reward("judge", on("eval-7", odd)), Reward("length", length)])
    job = EvalJob(configure("eval", evaluation={"samples": 16, "batch_size": 4}), task)
    with pytest.raises(TaskError, match=f"1 of 16 rollouts failed: the reward judge.*{words}") as caught:
        job.run()
    assert "sample eval-7" in str(caught.value)
    found = results(tmp_path, "eval")
    assert (found["metrics"]["judge"]["n"], found["metrics"]["length"]["n"]) == (15, 16)
    assert (found["metadata"]["partial"], found["metadata"]["failed_rollouts"]) == (True, 1)
    assert found["metadata"]["failures"][0]["sample"] == "eval-7"
    rewards = {event["sample_id"]: event["reward"] for event in events("eval", "RolloutFinished")}
    assert len(rewards) == 16
    assert [name for name, reward in rewards.items() if reward is None] == ["eval-7"]


class Brittle(Environment):
    """Two turns; breaks at the second where `breaks` says so."""

    def __init__(self, sample, breaks):
        self._sample, self._breaks, self._turns = sample, breaks, 0

    def step(self, reply):
        self._turns += 1
        if self._turns == 2 and self._breaks(self._sample):
            raise ConnectionError("the game server is gone")
        return Observation("a", done=self._turns == 2)


def test_one_environment_that_raises_costs_an_evaluation_no_other_rollout(configure, events, tmp_path):
    """The other conversations of its batch are played to their ends."""
    task = Task(environment=lambda sample: Brittle(sample, lambda one: one.id == "eval-5"))
    job = EvalJob(configure("eval", evaluation={"samples": 16, "batch_size": 16}), task)
    with pytest.raises(
        TaskError, match=r"environment Brittle raises on sample eval-5, turn 2: ConnectionError"
    ):
        job.run()
    assert results(tmp_path, "eval")["metadata"]["rollouts"] == 15
    recorded = {event["sample_id"]: event for event in events("eval", "RolloutFinished")}
    assert len(recorded) == 16
    broken = recorded["eval-5"]
    assert (broken["finish_reason"], broken["reward"]) == ("error", None)
    kinds = [(error["source"], error["kind"], error["retried"]) for error in broken["errors"]]
    assert kinds == [("environment", "ConnectionError", again) for again in (True, True, False)]


def test_what_was_measured_before_an_engine_broke_is_kept(configure, tmp_path, monkeypatch):
    """Eight of sixteen rollouts, whatever ends the evaluation."""
    from tenyson.engines.transformers import TransformersEngine

    generate, calls = TransformersEngine.generate, []

    def breaks(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("CUDA out of memory")
        return generate(self, *arguments)

    monkeypatch.setattr(TransformersEngine, "generate", breaks)
    with pytest.raises(RuntimeError, match="out of memory"):
        EvalJob(configure("eval", evaluation={"samples": 16, "batch_size": 4}), Task()).run()
    found = results(tmp_path, "eval")
    assert (found["metrics"]["length"]["n"], found["metadata"]["partial"]) == (8, True)


def test_a_task_that_always_fails_ends_at_its_first_batch(configure, events):
    """There is nothing that could be kept."""
    task = Task([Reward("judge", lambda rollout: rollout.nothing)])
    with pytest.raises(TaskError, match="4 of 16 rollouts failed"):
        EvalJob(
            configure("eval", evaluation={"samples": 16, "batch_size": 4}, run={"allow": ["rewards"]}), task
        ).run()
    assert len(events("eval", "RolloutFinished")) == 4


def test_metrics_that_raise_keep_what_is_recorded_and_other_faults_keep_the_results(configure, tmp_path):
    """What a task says of its data is no part of what was measured."""

    class Metrics(Task):
        def metrics(self, rollouts):
            return {"share": Metric.proportion(1, 2), "text": "half"}

        def provenance(self):
            return {"data": open("/nowhere").read()}  # noqa: PTH123

    with pytest.raises(TaskError, match=r"metrics\(\) of the task fixed: the metric text"):
        EvalJob(configure("eval", evaluation={"samples": 4}), Metrics()).run()
    found = results(tmp_path, "eval")
    assert found["metrics"]["share"]["value"] == 0.5
    assert "FileNotFoundError" in found["metadata"]["provenance"]["unknown"]


@pytest.mark.parametrize("job", [EvalJob, RLJob])
def test_two_rewards_of_one_name_are_refused(configure, job):
    """One of them would be lost, and a rollout would be worth another sum in RL than in evaluation."""
    task = Task([Reward("x", lambda _: 1.0), Reward("x", lambda _: 5.0)])
    with pytest.raises(TaskError, match="two rewards have the same name: x"):
        job(configure("run", training=GRPO), task).run()


@pytest.mark.parametrize("job", ["eval", "rl", "sft"])
def test_a_prompt_that_is_no_text_is_one_line_on_the_command_line(tmp_path, configure, capsys, job):
    """Exit status 2, the sample's id, no stack trace."""
    task = tmp_path / "task.py"
    task.write_text(
        "from tenyson.tasks import Reward, Sample, TaskPlugin\n"
        "class Odd(TaskPlugin):\n"
        "    def samples(self, split, seed):\n"
        "        yield Sample('fine', [{'role': 'user', 'content': 'a'}], [{'role': 'assistant', 'content': 'a'}])\n"
        "        yield Sample('odd', [{'role': 'user', 'content': 'a\\ud800'}], [{'role': 'assistant', 'content': 'a'}])\n"
        "    sft_samples = rl_samples = eval_samples = samples\n"
        "    def rewards(self):\n"
        "        return [Reward('x', lambda rollout: 1.0)]\n"
    )
    config = tmp_path / "config.json"
    config.write_text(json.dumps(configure("run", training={**GRPO, "eval_steps": None})))
    assert main(["--job-type", job, "--config", str(config), "--task-module", str(task)]) == 2
    told = capsys.readouterr().err
    assert "the prompt of sample odd: the content of message 0 holds a lone surrogate" in told
    assert "Traceback" not in told
    assert JobResult.load(tmp_path / "outputs" / "run" / "job_result.json").status == "failed"


BROKEN = {
    "a reward": {"call": 26, "step": 3},
    # Each step takes two of three batches that are generated together, so the checkpoint lies between two generations.
    "a reward, amid a generation": {
        "call": 26,
        "step": 1,
        "trl": {"gradient_accumulation_steps": 2, "steps_per_generation": 3},
    },
    "an environment": {"call": 26, "step": 3},
    "an evaluation": {"call": 1, "step": 4},
}
"""From which call on everything breaks, at the beginning of a batch (preflight makes one), and the last step before that."""


@pytest.mark.parametrize("what", BROKEN)
def test_an_rl_run_that_its_task_breaks_off_keeps_its_last_step_and_resumes_exactly(
    configure, tmp_path, events, what
):
    """Steps since the last regular checkpoint are not lost; after the resume it is the run that never broke off."""
    case = BROKEN[what]
    sections = {"training": GRPO, "trl": case.get("trl", {}), "rollouts": {"retries": 0}}
    multi, split = what == "an environment", "eval" if what == "an evaluation" else "train"
    asked = []

    def breaks(sample):
        asked.extend([sample] if sample.id.startswith(split) else [])
        return len(asked) >= case["call"] and sample.id.startswith(split)

    def reward(rollout):
        if breaks(rollout.sample):
            raise TimeoutError("the judge does not answer")
        return length(rollout)

    def plays(sample):
        return Brittle(sample, lambda _: False) if multi else None

    RLJob(configure("whole", **sections), Task(environment=plays)).run()
    task = Task(environment=lambda sample: Brittle(sample, breaks))
    job = RLJob(configure("broken", **sections), task if multi else Task([Reward("length", reward)], plays))
    with pytest.raises(TaskError, match=r"the (environment Brittle|reward length) raises on sample"):
        job.run()
    outputs = tmp_path / "outputs"
    assert (
        max(path.name for path in (outputs / "broken" / "checkpoints").glob("step-*"))
        == f"step-{case['step']}"
    )
    lost = [event for event in events("broken", "RolloutFinished") if event["reward"] is None]
    assert lost
    assert all(not event["trained"] and (event["dropped"] or not event["training"]) for event in lost)

    resumed = {**sections, "training": {**GRPO, "resume_from_checkpoint": "latest"}}
    RLJob(configure("broken", **resumed), Task(environment=plays)).run()
    whole, broken = (
        (outputs / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "broken")
    )
    assert whole == broken


def test_an_infinite_reward_ends_training_where_it_is_given(configure, tmp_path):
    """It trained to the end, and the job failed after the model was saved."""
    task = Task([Reward("judge", lambda rollout: math.inf)])
    with pytest.raises(TaskError, match=r"the reward judge on sample train-\d+ returned inf"):
        RLJob(configure("rl", training={**GRPO, "eval_steps": None}, run={"allow": ["rewards"]}), task).run()
    assert not (tmp_path / "outputs" / "rl" / "model").exists()
