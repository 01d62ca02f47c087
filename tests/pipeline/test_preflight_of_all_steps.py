"""All steps of a pipeline are examined before the first one starts: what RL would be refused for does not cost the SFT before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tenyson.cloud.local.backend import LocalManager
from tenyson.errors import PipelineError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.jobs.sft import SFTJob
from tenyson.pipeline import run_pipeline
from tenyson.pipeline.control.preflight import is_certain
from tenyson.tasks.load import load_task

pytestmark = pytest.mark.train

TASK = """
from tenyson.tasks import Reward, Sample, TaskPlugin

class Rows(TaskPlugin):
    name = "rows"

    def __init__(self, known=False, raises=False):
        super().__init__(known=known, raises=raises)
        self.known, self.raises = known, raises

    def samples(self, split, seed, completion=True):
        for n in range(16):
            answer = [{"role": "assistant", "content": "b"}] if completion else []
            yield Sample(f"{split}-{n}", [{"role": "user", "content": "a"}], answer, {} if completion else {"answer": "b"})

    sft_samples = samples

    def rl_samples(self, split, seed):
        if self.raises:
            raise FileNotFoundError("rows.jsonl, which the step before writes")
        return self.samples(split, seed, completion=self.known)

    eval_samples = rl_samples

    def rewards(self):
        return [Reward("right", lambda rollout: rollout.text == rollout.sample.data["answer"])]
"""


@pytest.fixture
def experiment(tmp_path):
    """Runs an experiment of SFT, RL and an evaluation, with settings of the task and of RL's training."""
    (tmp_path / "rows.py").write_text(TASK)

    def run(arguments=None, **training):
        step = {"max_steps": 1, "batch_size": 4, "num_generations": 4, "preflight_groups": 0, **training}
        data = {
            "name": "rows",
            "shared": {
                "model": {"factory": "tenyson.testing.tiny:build"},
                "task": {"module": "./rows.py", "args": arguments or {}},
                "generation": {"engine": "transformers", "max_new_tokens": 4},
                "training": {"max_steps": 1, "batch_size": 4},
                "evaluation": {"samples": 4},
            },
            "steps": [
                {"label": "sft", "job": "sft"},
                {"label": "rl", "job": "rl", "model_from": "sft", "config": {"training": step}},
                {"label": "after", "job": "eval", "model_from": "rl"},
            ],
        }
        (tmp_path / "rows.yaml").write_text(yaml.safe_dump(data))
        command = [Path(sys.executable).parent / "tenyson", "run", "rows.yaml", "--on-failure", "abort"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)

    return run


def test_what_rl_would_be_refused_for_is_told_before_sft_starts(experiment, tmp_path):
    """Exit status 2, and no folder of a run."""
    done = experiment(samples=1, batch_size=8)
    assert done.returncode == 2, done.stderr
    words = "step rl: groups: one generated batch takes 2 different prompts"
    assert words in done.stderr.replace("\n", " ")
    assert "nothing was started" in done.stderr
    assert not list(tmp_path.glob("outputs/*-sft"))


def test_a_reward_that_raises_on_known_answers_stops_no_training_half_way(tmp_path):
    """In Python, too: `run_pipeline` refuses it before the journal knows the pipeline."""
    (tmp_path / "rows.py").write_text(TASK)
    task = load_task(str(tmp_path / "rows.py"), {"known": True})
    config = {
        "model": {"factory": "tenyson.testing.tiny:build"},
        "training": {"max_steps": 1, "batch_size": 4, "num_generations": 4},
        "generation": {"engine": "transformers", "max_new_tokens": 4},
        "run": {"output_dir": str(tmp_path / "outputs")},
    }
    steps = [
        ("sft", config, SFTJob, task),
        ("rl", config, RLJob, task, "sft"),
        ("after", config, EvalJob, task, "rl"),
    ]
    url = f"sqlite:///{tmp_path}/t.db"
    with pytest.raises(
        PipelineError, match="step rl: rewards: the reward right raises on a good answer to train-0: KeyError"
    ):
        run_pipeline(steps, LocalManager(tmp_path / "outputs"), "abort", pipeline_id="p", db_url=url)
    assert not list(tmp_path.glob("outputs/*"))


def test_what_an_earlier_step_may_still_write_stops_nothing(experiment, tmp_path):
    """Samples that cannot be read yet are that step's own matter; a pipeline that is well is run to its end."""
    done = experiment({"raises": True})
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "outputs").is_dir()
    assert "FileNotFoundError" in done.stdout + done.stderr
    assert list(tmp_path.glob("outputs/*-sft/model"))


@pytest.mark.parametrize(
    ("check", "cause", "certain"),
    [
        ("environment", "environment() of the task t raises on sample a: ValueError: no board (t.py:3)", True),
        ("environment", "reset() of the environment E raises on sample a: ConnectionRefusedError: x (t.py:3)", False),
        ("agent", "agent() of the task t on sample a: no answer within 120 s", False),
        ("rewards", "the reward r raises on an empty answer to a: KeyError: 'b' (t.py:3)", True),
        ("tools", "the tool f raises on sample a: FileNotFoundError: index.db (t.py:3)", False),
    ],
)  # fmt: skip
def test_what_the_world_may_still_put_right_stops_no_pipeline(check, cause, certain):
    """A server that is away now, a file of an earlier step: the step looks again when it starts."""
    assert is_certain({"check": check, "cause": cause}) is certain
