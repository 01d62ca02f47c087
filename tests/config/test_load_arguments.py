"""`model.load_args`: a name acts when the model is loaded, or is refused with what to use, before anything is loaded."""

from __future__ import annotations

import inspect
import re

import pytest
import yaml

from tenyson.cli.main import main
from tenyson.config.checks.load_arguments import LOAD_HONOURED, LOAD_OWNED, LOAD_REFUSED
from tenyson.config.checks.passthrough import passthrough_problems
from tenyson.config.load import parse_config
from tenyson.plugins.job_kinds import job_kind

pytestmark = pytest.mark.train

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
ADAPTER = {"target_modules": "all-linear"}


def problems(job="sft", engine=None, name="m", peft=ADAPTER, **load_args):
    config = parse_config({"model": {"name": str(name), "load_args": load_args}, "peft": peft})
    return passthrough_problems(config, job_kind(job), engine=engine)


def told(*arguments, **keywords):
    return "\n".join(map(str, problems(*arguments, **keywords)))


def test_every_argument_of_the_installed_from_pretrained_is_ruled_on():
    """One that the tables lack would be taken for an attribute of the model's configuration."""
    from transformers import PreTrainedModel

    function = PreTrainedModel.from_pretrained
    names = set(inspect.signature(function).parameters) - {"model_args", "kwargs"}
    names |= set(re.findall(r'kwargs\.pop\("([a-z]\w*)"', inspect.getsource(function)))
    ruled = LOAD_HONOURED | LOAD_OWNED.keys() | LOAD_REFUSED.keys()
    assert names - ruled == set(), "say what becomes of these"
    assert not LOAD_HONOURED & (LOAD_OWNED.keys() | LOAD_REFUSED.keys())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"dtype": "bfloat16"}, "model.load_args.dtype: has a key of its own (use model.dtype)"),
        ({"attn_implementation": "sdpa"}, "(use model.attn_implementation)"),
        ({"revision": "main"}, "(use model.revision)"),
        ({"trust_remote_code": True}, "(use model.trust_remote_code)"),
        ({"device_map": "auto"}, "model.load_args.device_map: means nothing here: Tenyson puts the model on the device"),
        ({"cache_dir": "x"}, "set the environment variable HF_HUB_CACHE"),
        ({"ignore_mismatched_sizes": True}, "would load other weights than the files hold"),
        ({"eos_token_id": 3}, "model.load_args.eos_token_id: means nothing here: a reply ends at the chat template's"),
        ({"allow_all_kernels": True}, "it needs model.trust_remote_code: true as well"),
        ({"quantization_config": "nf4"}, "model.load_args.quantization_config: must be a mapping"),
        ({"quantization_config": {"load_in_4bits": True}}, "did you mean load_in_4bit?"),
        ({"quantization_config": {"bnb_4bit_quant_type": "nf4"}}, "asks for neither 4 bits nor 8"),
        ({"quantization_config": {"load_in_4bit": True, "load_in_8bit": True}}, "asks for 4 bits and for 8"),
        ({"quantization_config": NF4 | {"bnb_4bit_quant_type": "nf5"}}, "must be nf4 or fp4, not 'nf5' (did you mean nf4?)"),
        ({"quantization_config": NF4 | {"llm_int8_threshold": 5.0}}, "has no effect without load_in_8bit"),
        ({"quantization_config": {"load_in_8bit": True, "bnb_4bit_use_double_quant": True}}, "has no effect without load_in_4bit"),
        ({"quantization_config": NF4 | {"bnb_4bit_compute_dtype": "bfloat61"}}, "bitsandbytes refuses it"),
        ({"quantization_config": {"quant_method": "gptqq", "bits": 4}}, "did you mean gptq?"),
        ({"quantization_config": {"quant_method": "gptq", "bit": 4}}, "no argument of GPTQConfig (did you mean bits?)"),
    ],
)  # fmt: skip
def test_what_would_not_act_is_refused_with_what_to_use(given, expected):
    """By name, with the nearest one."""
    assert expected in told(**given)


def test_an_attribute_of_the_models_own_configuration_acts_and_a_wrong_one_is_refused(tmp_path):
    """config.json says which there are."""
    from tenyson.testing.tiny import build

    build(tmp_path, 0)
    assert problems(name=tmp_path, attention_dropout=0.1, max_position_embeddings=512) == []
    assert "no attribute of a Llama model (did you mean attention_dropout?)" in told(
        name=tmp_path, attention_dropuot=0.1
    )


def test_quantised_weights_are_trained_under_an_adapter_alone():
    """QLoRA; `peft` is what to set."""
    assert problems(quantization_config=NF4) == []
    assert "quantised weights cannot be trained themselves (train an adapter on them: peft:" in told(
        peft=None, quantization_config=NF4
    )
    assert problems("eval", engine="transformers", peft=None, quantization_config=NF4) == []


@pytest.mark.parametrize(
    ("job", "given", "expected"),
    [
        (
            "eval",
            {"quantization_config": NF4},
            "quantization_config: is for transformers: vLLM would load another model",
        ),
        ("rl", {"quantization_config": NF4}, "model.load_args: has no effect on the vLLM of RL"),
        ("rl", {"attention_dropout": 0.1}, "model.load_args: has no effect on the vLLM of RL"),
        ("eval", {"attention_dropout": 0.1}, ""),
    ],
)
def test_vllm_loads_the_same_model_or_refuses(job, given, expected):
    """Attributes of the configuration reach it as hf_overrides; quantisation does not."""
    found = told(job, engine="vllm", **given)
    assert expected in found
    assert bool(expected) == bool(found)


def test_config_check_names_the_line(tmp_path, capsys):
    """As for every other key."""
    file = tmp_path / "job.yaml"
    config = {
        "model": {"name": "m", "load_args": {"quantization_config": {"load_in_4bit": True, "qaunt_type": 1}}}
    }
    file.write_text(yaml.safe_dump(config | {"peft": ADAPTER}))
    assert main(["config", "check", str(file), "--job", "sft"]) == 2
    said = capsys.readouterr()
    assert "job.yaml:5: model.load_args.quantization_config.qaunt_type" in said.out + said.err


@pytest.mark.may_skip("torchao prints at import, so it is not among the tested packages")
def test_names_of_torchao_are_checked_against_its_own_classes():
    """`quant_type` is a class of torchao, by its name or with its arguments."""
    pytest.importorskip("torchao")
    int8 = {"quant_type": "Int8WeightOnlyConfig"}
    assert problems(quantization_config=int8) == []
    assert "did you mean Int8WeightOnlyConfig?" in told(quantization_config={"quant_type": "Int8WeightOnly"})
    four = {"quant_type": {"name": "Int4WeightOnlyConfig", "group_size": 32}}
    assert "trains adapters on torchao's 8-bit weights only" in told(quantization_config=four)
    assert "did you mean group_size?" in told(
        quantization_config={"quant_type": {"name": "Int4WeightOnlyConfig", "groupsize": 32}}
    )
