"""What does not fit the model is refused with exit status 2 before its weights are loaded; doctor tells it too."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tenyson import runner
from tenyson.cli.main import main
from tenyson.core.run_folder import RunFolder

pytestmark = pytest.mark.train

ECHO = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
QUICK = {"max_steps": 2, "batch_size": 8, "num_generations": 4, "preflight_groups": 0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from tenyson.testing.tiny import build

    folder = tmp_path_factory.mktemp("tiny")
    build(folder, 0)
    return folder


@pytest.fixture
def model(tiny, tmp_path):
    """A copy of a small model, to be spoiled."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


@pytest.fixture
def refused(tmp_path, configure, monkeypatch, capsys):
    """Runs a job, which must end with status 2 and one message, and doctor, which must tell the same; returns the message."""

    def of(job, *, doctor=True, **sections):
        def load(*_, **__):
            pytest.fail("the weights were loaded")

        monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", load)
        file = tmp_path / "job.yaml"
        file.write_text(yaml.safe_dump(configure("run", **{"training": QUICK, **sections})))
        status = runner.main(["--job-type", job, "--config", str(file), "--task-module", ECHO])
        said = capsys.readouterr().err
        assert (status, "Traceback" in said) == (2, False), said
        if doctor:
            arguments = ["doctor", "--config", str(file), "--job", job, "--task", ECHO, "--json"]
            if job == "eval":
                arguments += ["--set", "training={}"]
            assert main(arguments) == 1
            found = json.loads(capsys.readouterr().out)["findings"]
            assert [one for one in found if one["severity"] == "error"]
        return said

    return of


@pytest.mark.parametrize("job", ["sft", "rl", "eval"])
def test_a_tokenizer_without_an_end_is_refused(model, refused, job):
    """It names the file and what is missing there."""
    file = model / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    file.write_text(
        json.dumps({key: value for key, value in settings.items() if key not in ("eos_token", "pad_token")})
    )
    said = refused(job, model={"name": str(model)})
    assert f"{file}: the tokenizer has no eos_token" in said


def test_a_tokenizer_larger_than_the_embeddings_is_refused(model, refused):
    """A pad token that somebody added is the usual one; a placeholder that no text holds is let pass."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(model)
    said = refused("sft", model={"name": str(model)})
    assert "1 tokens beyond the" in said
    assert "'[PAD]'" in said
    assert "resize_token_embeddings" in said
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["another"])
    tokenizer.pad_token = "<pad>"
    tokenizer.save_pretrained(model)
    assert "'another'" in refused("eval", model={"name": str(model)})


@pytest.mark.parametrize(
    ("peft", "told"),
    [
        ({"target_modules": ["nosuch"]}, "nosuch"),
        ({"target_modules": ["q_proj"], "layers_to_transform": [77]}, "PEFT cannot put this adapter on"),
        ({"target_modules": ["input_layernorm"]}, "PEFT cannot put this adapter on"),
        (
            {"modules_to_save": ["embed_token"]},
            "modules_to_save: 'embed_token' names no module of this model",
        ),
        ({"rank_pattern": {"nosuch": 3}}, "rank_pattern: 'nosuch' names no module of this model"),
        ({"target_parameters": ["nosuch"]}, "target_parameters: 'nosuch' names no parameter of this model"),
        ({"trainable_token_indices": [99999]}, "the model has no token 99999"),
        ({"trainable_token_indices": [1]}, "ties lm_head to its embeddings"),
    ],
)
def test_an_adapter_for_modules_that_the_model_does_not_have_is_refused(model, refused, peft, told):
    """Seen on the model's outline."""
    said = refused("sft", model={"name": str(model)}, peft=peft)
    assert "peft: " in said or "peft." in said
    assert told in said


@pytest.mark.parametrize(
    ("option", "told"), [("use_liger_kernel", "liger-kernel"), ("activation_offloading", "accelerator")]
)
def test_what_this_machine_does_not_have_is_refused(model, refused, option, told):
    """A package that is not installed, memory to move activations from."""
    if option == "use_liger_kernel" and find_spec("liger_kernel"):
        pytest.skip("it is installed")
    said = refused("sft", doctor=False, model={"name": str(model)}, trl={option: True})
    assert f"trl.{option}: " in said
    assert told in said


def test_an_attention_that_is_not_installed_is_refused(model, refused):
    """With the key, and one that works."""
    said = refused("sft", model={"name": str(model), "attn_implementation": "flash_attention_2"})
    assert "model.attn_implementation: flash_attention_2 cannot be used here" in said
    assert "sdpa" in said


def test_replies_beyond_learnt_positions_are_refused(model, refused):
    """GPT-2 fails at the first token beyond; a model that rotates its positions only gets worse, which is a warning."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    size = len(AutoTokenizer.from_pretrained(model))
    for file in ("config.json", "model.safetensors"):
        (model / file).unlink()
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=size, n_positions=16, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=1
        )
    ).save_pretrained(model)
    said = refused("eval", model={"name": str(model)}, generation={"max_new_tokens": 40})
    assert "prompt_length" in said
    assert "its positions are learnt" in said


def test_an_optimizer_that_is_not_installed_is_refused(model, refused):
    """Or one that takes other values."""
    said = refused("sft", model={"name": str(model)}, trl={"optim": "schedule_free_adamw"})
    assert "trl.optim: schedule_free_adamw" in said
    assert "adam_beta1" not in said
    said = refused("sft", model={"name": str(model)}, trl={"optim": "adamw_torch", "optim_args": "nonsense"})
    assert "trl.optim: adamw_torch" in said


def test_an_output_folder_that_is_a_file_is_one_line(model, refused, tmp_path):
    """No second error where the result cannot be written either."""
    (tmp_path / "file").write_text("")
    said = refused(
        "eval", doctor=False, model={"name": str(model)}, run={"output_dir": str(tmp_path / "file")}
    )
    assert "run.output_dir: " in said
    assert not RunFolder.of(tmp_path / "file", "run").path.exists()
