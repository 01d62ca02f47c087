"""QLoRA: adapters on weights that bitsandbytes quantises, here by its CPU build, are trained, resumed, measured and served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.soak.resume_matrix import RL, SFT, verify

from tenyson.jobs.eval import EvalJob
from tenyson.jobs.models.dims import KNOWN
from tenyson.jobs.models.memory import estimate_memory
from tenyson.jobs.sft import SFTJob

pytestmark = pytest.mark.train

NF4 = {"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}
INT8 = {"quantization_config": {"load_in_8bit": True}}
ADAPTER = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"}


def model(load_args, **further):
    return {
        "factory": "tenyson.testing.tiny:build",
        "factory_args": {"width": 64},
        "load_args": load_args,
    } | further


@pytest.mark.parametrize("load_args", [NF4, INT8], ids=["nf4", "int8"])
def test_an_adapter_on_quantised_weights_learns_and_is_measured_on_them(configure, echo, losses, load_args):
    """The same section `model` in both jobs; the evaluation chooses the engine that can load it."""
    training = {"max_steps": 60, "batch_size": 16, "learning_rate": 0.02}
    SFTJob(configure("sft", model=model(load_args), training=training, peft=ADAPTER), echo).run()
    assert losses("sft")[-1] < losses("sft")[0] - 0.5
    measured = configure(
        "after", model=model(load_args, adapter="sft"), generation={"engine": "auto", "max_new_tokens": 6}
    )
    result = EvalJob(measured, echo).run()
    found = json.loads((Path(result.local_output_dir) / "results.json").read_text())["metadata"]
    assert found["engine"] == "transformers"
    plain = EvalJob(configure("before", model=model(load_args)), echo).run()
    assert result.metrics["truncated"] < plain.metrics["truncated"]
    print(result.metrics, plain.metrics, losses("sft")[::10])


@pytest.mark.parametrize("job", ["sft", "rl"])
def test_a_killed_and_resumed_qlora_is_the_same_to_the_bit(tmp_path, job):
    """Checkpoints hold the adapter; the weights below are quantised again, in the same way."""
    training = SFT | {"kill": 7} if job == "sft" else RL | {"kill": 7, "max_steps": 12}
    sections = {"peft": ADAPTER | {"lora_dropout": 0.1}, "load_args": NF4, "factory_args": {"width": 64}}
    verdict = verify(tmp_path, (job, sections, training))
    assert verdict["differences"] == []
    assert verdict["identical"]


def test_the_memory_of_quantised_weights_is_estimated():
    """Of 8 billion parameters, 4 bits and double quantisation leave about 4 GB for the linear layers."""
    from tenyson.config.load import parse_config

    double = {"quantization_config": NF4["quantization_config"] | {"bnb_4bit_use_double_quant": True}}
    parts = {}
    for name, load_args in {"plain": {}, "nf4": NF4, "double": double, "int8": INT8}.items():
        config = parse_config(
            {"model": {"name": "Qwen/Qwen3-8B", "dtype": "bfloat16", "load_args": load_args}, "peft": ADAPTER}
        )
        estimate = estimate_memory(KNOWN["Qwen/Qwen3-8B"], "sft", config.model_dump(mode="json"))
        parts[name] = estimate.parts["weights"]
    embeddings = 2 * 151936 * 4096
    linear = KNOWN["Qwen/Qwen3-8B"].parameters - embeddings
    assert parts["plain"][0] == (linear + embeddings) * 2
    assert parts["int8"][0] == linear + embeddings * 4
    assert parts["nf4"][0] == pytest.approx(linear * 0.5625 + embeddings * 4)
    assert parts["double"][0] < parts["nf4"][0]
    assert "quantised x 0.562 bytes" in parts["nf4"][1]
