"""Every JSON file that a job writes is JSON: what is not finite is null, listed, and read back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tenyson.core.run_folder import RunFolder
from tenyson.jobs.job import Job, Outcome
from tenyson.jobs.result import JobResult
from tenyson.pipeline.journal.records import result_from
from tenyson.tasks import Metric
from tenyson.telemetry.events import json_text, strict_json


def strict(text: str) -> object:
    """Reads JSON as other programs do."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_result_with_numbers_that_are_not_finite_is_json_and_reads_back(tmp_path):
    """null in the file, the names beside it, and the same numbers after reading."""
    metrics = {"loss": math.nan, "reward": math.inf, "kl": -math.inf, "accuracy": 0.5}
    file = JobResult("r", "success", math.nan, metrics).save(tmp_path / "job_result.json")
    written = strict(file.read_text())
    assert written["metrics"] == {"loss": None, "reward": None, "kl": None, "accuracy": 0.5}
    assert written["not_finite"] == {
        "metrics.loss": "NaN", "metrics.reward": "Infinity", "metrics.kl": "-Infinity", "total_time_seconds": "NaN",
    }  # fmt: skip
    found = JobResult.load(file)
    assert math.isnan(found.metrics["loss"])
    assert (found.metrics["reward"], found.metrics["kl"]) == (math.inf, -math.inf)
    assert math.isnan(found.total_time_seconds)


def test_a_result_that_is_finite_has_no_list(tmp_path):
    """Only what is odd is told."""
    file = JobResult("r", "success", 1.0, {"loss": 0.5}).save(tmp_path / "job_result.json")
    assert "not_finite" not in strict(file.read_text())


class Diverged(Job):
    """A job whose numbers left the real line, and whose metadata hold what JSON does not know."""

    job_type = "eval"

    def execute(self, context):
        import numpy as np

        measured = {
            "loss": math.nan,
            "best": -math.inf,
            "nothing": Metric.mean([]),
            "fine": Metric.mean([1.0, 1.0]),
        }
        return Outcome(
            measured, {"spread": [1.0, np.float32("inf")], "by step": {3: math.nan}, "where": Path("x")}
        )


def test_a_diverged_job_leaves_files_that_any_program_reads(configure, echo, tmp_path):
    """results.json names each number that is none; what was measured on nothing is null without a name."""
    result = Diverged(configure("bad"), echo).run()
    folder = RunFolder.of(tmp_path / "outputs", "bad")
    for file in folder.path.glob("*.json"):
        strict(file.read_text())
    for line in (folder.path / "events.jsonl").read_text().splitlines():
        strict(line)
    found = strict(folder.results.read_text())
    assert found["not_finite"] == {
        "metrics.loss.value": "NaN", "metrics.best.value": "-Infinity",
        "metadata.spread.1": "Infinity", "metadata.by step.3": "NaN",
    }  # fmt: skip
    assert found["metrics"]["nothing"] == {"value": None, "n": 0, "low": None, "high": None}
    assert math.isnan(result.metrics["loss"])
    assert math.isnan(JobResult.load(folder.job_result).metrics["loss"])
    assert "nothing" not in result.metrics


def test_the_journal_gives_numbers_back_as_numbers():
    """A database keeps them as text."""
    row = json.loads(
        json_text.dumps(vars(JobResult("r", "success", 1.0, {"loss": math.nan, "best": math.inf})))
    )
    assert math.isnan(result_from(row).metrics["loss"])
    assert result_from(row).metrics["best"] == math.inf


@pytest.mark.parametrize(
    "value",
    [
        {"a.b": math.inf, "a": {"b": None}, "list": [[math.nan], {"x": -math.inf}]},
        {"not_finite": {"old": "NaN"}, "old": None, "new": math.inf},
    ],
)
def test_what_is_taken_out_is_put_back(value):
    """Wherever it was: in lists, under names with dots, beside a list from before."""
    text = strict_json.dumps(value)
    back = strict_json.restore(strict(text))
    assert repr(back) == repr({"old": math.nan, "new": math.inf} if "old" in value else value)


@pytest.mark.train
def test_a_checkpoint_of_a_diverged_training_is_json_and_resumes(configure, echo, tmp_path):
    """What was logged of each step and what the task remembers are the same numbers after the resume."""
    from tenyson.jobs.sft import SFTJob

    class Remembering(type(echo)):
        best = -math.inf

        def state(self):
            return {"best": self.best}

        def restore(self, state):
            restored.append(state["best"])

    restored: list[float] = []
    training = {"batch_size": 4, "learning_rate": 1e30, "save_steps": 2, "lr_scheduler": "constant"}
    SFTJob(configure("nan", training=training | {"max_steps": 2}), Remembering()).run()
    checkpoint = tmp_path / "outputs" / "nan" / "checkpoints" / "step-2"
    for file in checkpoint.glob("*.json"):
        strict(file.read_text())
    state = strict((checkpoint / "trainer_state.json").read_text())
    assert state["log_history"][1]["grad_norm"] is None
    again = training | {"max_steps": 4, "resume_from_checkpoint": "latest"}
    SFTJob(configure("nan", training=again), Remembering()).run()
    assert restored == [-math.inf]
    later = strict((checkpoint.with_name("step-4") / "resume.json").read_text())
    assert {"log_history.1.grad_norm", "log_history.3.grad_norm"} <= set(later["trainer_state_not_finite"])
