"""`tenyson merge`: an adapter and its base become one directory, which says the same and needs neither PEFT nor Tenyson."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenyson.cli.main import main
from tenyson.jobs.sft import SFTJob

pytestmark = pytest.mark.train

ADAPTER = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
TRAINING = {"max_steps": 20, "batch_size": 16, "learning_rate": 0.02}
EMBEDDINGS = {"modules_to_save": ["embed_tokens"]}


@pytest.fixture
def train(configure, echo):
    """Runs a training by name, with sections."""

    def run(name, **sections):
        return Path(SFTJob(configure(name, training=TRAINING, **sections), echo).run().local_output_dir)

    return run


@pytest.fixture
def merge(tmp_path, capsys):
    """Runs the command; its exit status and what it printed."""

    def run(name, to, *arguments):
        command = ["merge", name, "--to", str(to), "--output-dir", str(tmp_path / "outputs"), *arguments]
        status = main(command)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def logits(model):
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(4, 40)[None]).logits


@pytest.mark.parametrize("peft", [{}, EMBEDDINGS], ids=["lora", "lora and embeddings"])
def test_a_merged_model_says_what_the_adapter_says_on_its_base(train, merge, tmp_path, peft):
    """Loaded by transformers alone; an embedding that was trained beside a frozen lm_head is untied from it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    folder = train("sft", peft=ADAPTER | peft)
    status, said = merge("sft", tmp_path / "merged")
    assert status == 0, said
    assert "parameters in float32" in said
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    base = json.loads((folder / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    plain = AutoModelForCausalLM.from_pretrained(base)
    before = logits(plain)
    adapted = logits(PeftModel.from_pretrained(plain, folder / "adapter").eval())
    assert torch.allclose(logits(merged), adapted, atol=1e-4)
    assert not torch.allclose(adapted, before, atol=1e-2)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(base).chat_template
    assert GenerationConfig.from_pretrained(tmp_path / "merged").eos_token_id == tokenizer.eos_token_id
    assert (tmp_path / "merged" / "tenyson.json").read_bytes() == (
        folder / "adapter" / "tenyson.json"
    ).read_bytes()


def test_a_merged_model_is_measured_like_any_other(train, merge, configure, echo, tmp_path):
    """Greedy, the adapter and the merged model answer the same."""
    from tenyson.jobs.eval import EvalJob

    train("sft", peft=ADAPTER)
    assert merge("sft", tmp_path / "merged")[0] == 0
    greedy = {"temperature": 0.0}
    factory = {"factory": "tenyson.testing.tiny:build"}
    by_adapter = EvalJob(configure("a", model=factory | {"adapter": "sft"}, generation=greedy), echo).run()
    by_model = EvalJob(
        configure("b", model={"name": str(tmp_path / "merged")}, generation=greedy), echo
    ).run()
    assert by_model.metrics == by_adapter.metrics


def test_the_weights_are_written_in_the_type_that_is_asked_for(train, merge, tmp_path):
    """Merged in float32 all the same."""
    import torch
    from transformers import AutoModelForCausalLM

    train("sft", peft=ADAPTER)
    assert "in bfloat16" in merge("sft", tmp_path / "merged", "--dtype", "bfloat16")[1]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert model.dtype == torch.bfloat16


def test_an_adapter_of_quantised_weights_is_merged_into_the_weights_without_quantisation(
    train, merge, tmp_path
):
    """And the command says so."""
    from transformers import AutoModelForCausalLM

    load_args = {"quantization_config": {"load_in_4bit": True}}
    model = {"factory": "tenyson.testing.tiny:build", "load_args": load_args}
    train("sft", model=model, peft=ADAPTER)
    status, said = merge("sft", tmp_path / "merged")
    assert status == 0, said
    assert "was trained on weights quantised by bitsandbytes" in said
    assert not hasattr(
        AutoModelForCausalLM.from_pretrained(tmp_path / "merged").config, "quantization_config"
    )


def test_what_cannot_be_merged_is_refused_and_nothing_is_written(train, merge, tmp_path):
    """All weights trained, a directory that exists, files of quantised weights, a run that nobody knows."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    from tenyson.testing.tiny import build

    train("full")
    folder = train("sft", peft=ADAPTER)
    status, said = merge("full", tmp_path / "merged")
    assert (status, "has trained all weights, so there is nothing to merge" in said) == (2, True), said
    taken = tmp_path / "taken"
    taken.mkdir()
    status, said = merge("sft", taken)
    assert (status, "already exists, and nothing is overwritten" in said) == (2, True), said
    assert merge("nobody", tmp_path / "merged")[0] == 2
    quantised = tmp_path / "quantised"
    build(quantised, 0)
    model = AutoModelForCausalLM.from_pretrained(
        quantised, quantization_config=BitsAndBytesConfig(load_in_4bit=True)
    )
    model.save_pretrained(quantised)
    chosen = ("--set", f"model.name={quantised}", "--set", "model.factory=null")
    status, said = merge("sft", tmp_path / "merged", *chosen)
    assert (status, "its files hold quantised weights" in said) == (2, True), said
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    status, said = merge("sft", tmp_path / "merged")
    assert status == 2, said
    assert list(taken.iterdir()) == []
    assert not (tmp_path / "merged").exists()
    assert not list(tmp_path.glob(".merged-*"))
