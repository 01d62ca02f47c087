"""`tenyson config check --job`: values that a library would refuse once the model is loaded are refused here, with the key."""

from __future__ import annotations

import pytest
import yaml

from tenyson.cli.main import main

pytestmark = pytest.mark.train

CASES = {
    "a schedule without what it needs": (
        "sft", {"training": {"lr_scheduler": "cosine_with_min_lr"}}, "training.lr_scheduler", "min_lr_rate: 0.1",
    ),
    "another one": ("rl", {"training": {"lr_scheduler": "warmup_stable_decay"}}, "training.lr_scheduler", "num_decay_steps"),
    "one with an argument of another": (
        "sft", {"trl": {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"min_lr": 0.1}}}, "trl.lr_scheduler_type", "min_lr",
    ),
    "a schedule that does not exist": ("sft", {"training": {"lr_scheduler": "cosin"}}, "training.lr_scheduler", "did you mean cosine?"),
    "a schedule that looks at what is not measured": (
        "sft", {"training": {"lr_scheduler": "reduce_lr_on_plateau"}}, "training.lr_scheduler", "training.eval_steps",
    ),
    "evaluation without a data set": ("sft", {"trl": {"eval_strategy": "epoch"}}, "trl.eval_strategy", "training.eval_steps"),
    "evaluation before the first step": ("rl", {"trl": {"eval_on_start": True}}, "trl.eval_on_start", "training.eval_steps"),
    "rows without padding and without packing": ("sft", {"trl": {"padding_free": True}}, "trl.padding_free", "training.packing"),
    "text for a number": ("sft", {"trl": {"adam_beta1": "high"}}, "trl.adam_beta1", "must be a number"),
    "a number as text": ("rl", {"trl": {"epsilon": "0.2"}}, "trl.epsilon", "write 0.2 without quotes"),
    "text for a truth value": ("sft", {"trl": {"bf16": "yes"}}, "trl.bf16", "true or false"),
    "a list for a number": ("rl", {"trl": {"learning_rate": [1.0]}}, "trl.learning_rate", "must be a number"),
    "an optimizer that does not exist": ("sft", {"trl": {"optim": "adamw_torhc"}}, "trl.optim", "did you mean adamw_torch"),
    "a batch of nothing": ("sft", {"trl": {"per_device_train_batch_size": 0}}, "trl.per_device_train_batch_size", "above 0"),
    "a share above one": ("rl", {"trl": {"top_p": 1.5}}, "trl.top_p", "between 0 and 1"),
    "a loss that does not exist": ("rl", {"trl": {"loss_type": "gpro"}}, "trl.loss_type", "did you mean grpo?"),
    "a scale that does not exist": ("rl", {"trl": {"scale_rewards": "grup"}}, "trl.scale_rewards", "did you mean group?"),
    "a level that does not exist": (
        "rl", {"trl": {"importance_sampling_level": "tokens"}}, "trl.importance_sampling_level", "did you mean token?",
    ),
    "a choice below none": ("rl", {"trl": {"top_k": -1}}, "trl.top_k", "at least 0"),
    "a penalty of nothing": ("rl", {"trl": {"repetition_penalty": 0}}, "trl.repetition_penalty", "above 0"),
    "noise below none": ("sft", {"trl": {"neftune_noise_alpha": -1}}, "trl.neftune_noise_alpha", "at least 0"),
    "workers below none": ("sft", {"trl": {"dataloader_num_workers": -1}}, "trl.dataloader_num_workers", "at least 0"),
    "an argument that checkpointing does not have": (
        "sft", {"trl": {"gradient_checkpointing_kwargs": {"use_rentrant": False}}}, "trl.gradient_checkpointing_kwargs.use_rentrant",
        "did you mean use_reentrant?",
    ),
    "a reference that cannot move": ("rl", {"trl": {"sync_ref_model": True}}, "trl.sync_ref_model", "training.beta"),
    "a reference that an adapter holds still": (
        "rl", {"trl": {"sync_ref_model": True}, "training": {"beta": 0.1}, "peft": {"r": 4}}, "trl.sync_ref_model", "all weights",
    ),
    "columns taken away": ("rl", {"trl": {"remove_unused_columns": True}}, "trl.remove_unused_columns", "leave it out"),
    "greedy RL": ("rl", {"generation": {"temperature": 0}}, "generation.temperature", "above 0"),
    "greedy RL by TRL's name": ("rl", {"trl": {"temperature": 0.0}}, "trl.temperature", "above 0"),
    "RL with one token to choose from": ("rl", {"generation": {"top_k": 1}}, "generation.top_k", "0 is off"),
    "an adapter of rank 0": ("sft", {"peft": {"r": 0}}, "peft.r", "at least 1"),
    "an adapter of half a rank": ("sft", {"peft": {"r": 4.5}}, "peft.r", "a whole number"),
    "an adapter on lm_head": ("sft", {"peft": {"target_modules": ["q_proj", "lm_head"]}}, "peft.target_modules", "leave lm_head out"),
    "an adapter on nothing": ("rl", {"peft": {"target_modules": []}}, "peft.target_modules", "all-linear"),
    "all of it dropped": ("sft", {"peft": {"lora_dropout": 1}}, "peft.lora_dropout", "below 1"),
    "a bias that does not exist": ("sft", {"peft": {"bias": "some"}}, "peft.bias", "lora_only"),
    "another kind of task": ("sft", {"peft": {"task_type": "SEQ_CLS"}}, "peft.task_type", "CAUSAL_LM"),
    "an attention that does not exist": (
        "eval", {"model": {"name": "m", "attn_implementation": "sdpaa"}}, "model.attn_implementation", "did you mean sdpa?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_value_that_cannot_work_is_an_error_with_its_key(tmp_path, capsys, case):
    """Exit status 2, the line, the key, and what to do."""
    job, sections, key, told = CASES[case]
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump({"model": {"name": "m"}, **sections}))
    assert main(["config", "check", str(file), "--job", job]) == 2
    said = capsys.readouterr().err
    assert f" {key}: " in said
    assert told in said
    assert "Traceback" not in said


def test_a_folder_that_is_a_file_is_told_before_anything_is_made(tmp_path, capsys):
    """Also where it is further up."""
    for place in ("job.yaml", "job.yaml/deeper"):
        file = tmp_path / "job.yaml"
        file.write_text(
            yaml.safe_dump({"model": {"name": "m"}, "run": {"output_dir": str(tmp_path / place)}})
        )
        assert main(["config", "check", str(file), "--job", "eval"]) == 2
        assert "run.output_dir: " in capsys.readouterr().err


FINE = [
    ("sft", {"training": {"lr_scheduler": "cosine_with_min_lr"}, "trl": {"lr_scheduler_kwargs": {"min_lr_rate": 0.1}}}),
    ("sft", {"training": {"lr_scheduler": "warmup_stable_decay"}, "trl": {"lr_scheduler_kwargs": {"num_decay_steps": 5}}}),
    ("sft", {"training": {"lr_scheduler": "reduce_lr_on_plateau", "eval_steps": 5}, "trl": {"optim": "adafactor"}}),
    ("sft", {"training": {"packing": True, "lr_scheduler": "polynomial"}, "trl": {"padding_free": True, "warmup_steps": 0.1}}),
    ("rl", {"training": {"beta": 0.1}, "trl": {"sync_ref_model": True, "loss_type": "dr_grpo", "top_p": 1.0, "bf16": None}}),
    ("rl", {"peft": {"r": 4, "lora_alpha": 0.5, "target_modules": "all-linear", "init_lora_weights": "pissa_niter_4"}}),
    ("rl", {"trl": {"scale_rewards": False}}),
    ("rl", {"trl": {"eval_strategy": False, "scale_rewards": "none", "reward_weights": [1, 0.5]}}),
]  # fmt: skip


@pytest.mark.parametrize(("job", "sections"), FINE)
def test_what_works_is_fine(tmp_path, capsys, job, sections):
    """Only what is surely wrong is refused."""
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump({"model": {"name": "m"}, **sections}))
    assert main(["config", "check", str(file), "--job", job]) == 0, capsys.readouterr().err
