"""A Tenyson job does what a bare TRL script does: the same losses to the bit, on the same data, model and seed."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train

TRAINING = {"max_steps": 12, "batch_size": 8, "learning_rate": 0.003, "logging_steps": 1}


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory):
    from tenyson.testing.tiny import build

    directory = tmp_path_factory.mktemp("model")
    build(directory, 0)
    return str(directory)


def bare_losses(trainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_sft_losses_equal_those_of_a_bare_trl_script(configure, echo, losses, model_directory, tmp_path):
    """TRL itself renders the conversations here, with its own completion mask."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from tenyson.jobs.sft import SFTJob

    SFTJob(configure("sft", model={"name": model_directory}, training=TRAINING), echo).run()
    rows = [
        {"prompt": list(sample.prompt), "completion": list(sample.completion)}
        for sample in echo.sft_samples("train", 0)
    ]
    bare = SFTTrainer(
        model=model_directory,
        args=SFTConfig(
            output_dir=str(tmp_path / "bare"),
            seed=0,
            data_seed=0,
            max_steps=12,
            per_device_train_batch_size=8,
            learning_rate=0.003,
            logging_steps=1,
            gradient_checkpointing=False,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model_directory),
    )
    expected = bare_losses(bare)
    assert len(expected) == 12
    assert losses("sft") == expected


def test_rl_losses_equal_those_of_a_bare_trl_script(configure, echo, losses, model_directory, tmp_path):
    """TRL generates and scores here with plain reward functions; sampling, advantages and updates agree."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from tenyson.jobs.rl import RLJob

    training = {**TRAINING, "max_steps": 6, "batch_size": 16, "num_generations": 4, "beta": 0.05}
    RLJob(configure("rl", model={"name": model_directory}, training=training), echo).run()

    def right(completions, answer, **_):
        return [
            float(completion[0]["content"] == want)
            for completion, want in zip(completions, answer, strict=True)
        ]

    def letters(completions, answer, **_):
        return [
            completion[0]["content"].count(want[0]) / 8
            for completion, want in zip(completions, answer, strict=True)
        ]

    rows = [
        {"prompt": list(sample.prompt), "answer": sample.data["answer"]}
        for sample in echo.rl_samples("train", 0)
    ]
    bare = GRPOTrainer(
        model=model_directory,
        reward_funcs=[right, letters],
        args=GRPOConfig(
            output_dir=str(tmp_path / "bare"),
            seed=0,
            data_seed=0,
            max_steps=6,
            per_device_train_batch_size=16,
            num_generations=4,
            max_completion_length=6,
            beta=0.05,
            reward_weights=[1.0, 0.5],
            learning_rate=0.003,
            logging_steps=1,
            gradient_checkpointing=False,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model_directory),
    )
    expected = bare_losses(bare)
    assert len(expected) == 6
    assert any(loss != 0 for loss in expected)
    assert losses("rl") == expected
