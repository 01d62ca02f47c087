"""bfloat16 on a CPU: taken where the processor has instructions for it and the model is large enough, and kept by a resume."""

from __future__ import annotations

import pytest

from tenyson.jobs.sft import SFTJob
from tenyson.jobs.trainers import precision

pytestmark = pytest.mark.train

TRAINING = {
    "max_steps": 4,
    "batch_size": 4,
    "learning_rate": 0.003,
    "save_steps": 2,
    "save_total_limit": None,
}


@pytest.fixture
def processor(monkeypatch):
    """Sets whether this processor has instructions for bfloat16, and that the tiny model is large enough."""
    monkeypatch.setattr(precision, "LEAST_PARAMETERS", 1)
    return lambda able: monkeypatch.setattr(precision, "has_instructions", lambda: able)


@pytest.fixture
def train(configure, echo, events, losses):
    """Trains; returns the losses, and what the log says of the precision."""

    def run(run_id, **sections):
        SFTJob(configure(run_id, **{"training": TRAINING, **sections}), echo).run()
        told = [event["message"] for event in events(run_id, "Notice")]
        return losses(run_id), [one for one in told if one.startswith("precision: ")]

    return run


def test_a_processor_with_instructions_trains_as_trls_bf16_does_and_another_resumes_it_alike(
    processor, train, tmp_path
):
    processor(True)
    chosen, told = train("chosen")
    assert told == [
        "precision: forward passes compute in bfloat16, for which this processor has instructions; trl.bf16: false changes that"
    ]
    assert train("asked", trl={"bf16": True}) == (chosen, [])
    processor(False)
    plain, nothing = train("plain")
    assert nothing == []
    assert plain != chosen
    assert plain == pytest.approx(chosen, rel=0.05)
    checkpoint = str(tmp_path / "outputs/chosen/checkpoints/step-2")
    resumed, told = train("resumed", training=TRAINING | {"resume_from_checkpoint": checkpoint})
    assert resumed == chosen[2:]
    assert told[0].startswith("precision: forward passes compute in bfloat16, as before this resume")


def test_a_resume_on_a_better_processor_computes_as_before(processor, train, tmp_path):
    processor(False)
    begun, _ = train("begun")
    processor(True)
    checkpoint = str(tmp_path / "outputs/begun/checkpoints/step-2")
    assert train("moved", training=TRAINING | {"resume_from_checkpoint": checkpoint}) == (begun[2:], [])


@pytest.mark.parametrize("sections", [{"trl": {"bf16": False}}, {"model": {"dtype": "float32"}}])
def test_what_the_configuration_says_holds(processor, train, sections):
    processor(True)
    sections = {name: dict(values) for name, values in sections.items()}
    if "model" in sections:
        sections["model"]["factory"] = "tenyson.testing.tiny:build"
    assert train("decided", **sections)[1] == []


def test_a_small_model_computes_in_float32(processor, monkeypatch, train):
    processor(True)
    monkeypatch.setattr(precision, "LEAST_PARAMETERS", 50_000_000)
    assert train("small")[1] == []
