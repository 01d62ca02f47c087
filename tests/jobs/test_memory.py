"""The memory estimate: arithmetic that a person can follow, and that real models confirm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tenyson.jobs.memory import GIB, estimate_memory
from tenyson.jobs.shape import KNOWN, Shape

TENYSON = str(Path(sys.executable).parent / "tenyson")


def config(job: str, **sections):
    from tenyson.config.load import parse_config

    base = {"model": {"name": "Qwen/Qwen3-0.6B", "dtype": "bfloat16"}, **sections}
    return parse_config(base).model_dump(mode="json")


@pytest.mark.parametrize(("name", "billions"), [("Qwen/Qwen3-0.6B", 0.596), ("Qwen/Qwen3-4B", 4.02)])
def test_published_shapes_give_the_published_number_of_parameters(name, billions):
    """The model cards say 0.6 B and 4.0 B."""
    assert KNOWN[name].parameters / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.train
def test_the_parameters_of_a_real_model_are_counted_right(tmp_path):
    """Read from config.json alone, the count agrees with the model's own but for its norms."""
    from transformers import AutoModelForCausalLM

    from tenyson.testing.tiny import build

    build(tmp_path, 0, width=64, layers=3)
    shape = Shape.from_config(json.loads((tmp_path / "config.json").read_text()))
    real = AutoModelForCausalLM.from_pretrained(tmp_path).num_parameters()
    assert shape.parameters == pytest.approx(real, rel=0.005)


def test_full_training_needs_weights_gradients_and_two_moments():
    """4 + 4 + 8 bytes a parameter in float32."""
    shape = KNOWN["Qwen/Qwen3-0.6B"]
    full = config("sft", model={"name": "Qwen/Qwen3-0.6B", "dtype": "float32"})
    parts = estimate_memory(shape, "sft", full).parts
    assert parts["weights"][0] + parts["gradients"][0] + parts["optimizer"][0] == 16 * shape.parameters


def test_lora_needs_gradients_for_the_adapter_alone():
    """A rank of 16 trains well under 2% of the model."""
    shape = KNOWN["Qwen/Qwen3-0.6B"]
    parts = estimate_memory(shape, "sft", config("sft", peft={"r": 16, "target_modules": "all-linear"})).parts
    assert 0 < parts["gradients"][0] < 0.04 * shape.parameters * 4


def test_gradient_checkpointing_saves_most_of_the_activations():
    """Each layer keeps its input alone."""
    shape = KNOWN["Qwen/Qwen3-4B"]
    whole = estimate_memory(shape, "sft", config("sft")).parts["activations"][0]
    checkpointed = config("sft", training={"gradient_checkpointing": True})
    assert estimate_memory(shape, "sft", checkpointed).parts["activations"][0] < whole / 10


@pytest.mark.parametrize(("preset", "gigabytes"), [("qwen3-0.6b", 24), ("qwen3-4b", 80)])
def test_the_gpu_presets_fit_the_gpu_that_they_name(preset, gigabytes, tmp_path):
    """`tenyson run --dry-run` shows each step's estimate; it leaves a tenth of the named GPU free."""
    command = [TENYSON, "run", "--task", "wordle", "--preset", preset, "--dry-run", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    steps = json.loads(done.stdout)["steps"]
    assert [step["label"] for step in steps] == ["baseline", "sft", "eval-sft", "rl", "eval"]
    for step in steps:
        assert GIB < step["memory_bytes"] < 0.9 * gigabytes * 1e9, step["label"]
    from tenyson_wordle.task import WordleTask

    assert f"{gigabytes} GB" in WordleTask.presets()[preset].hardware
