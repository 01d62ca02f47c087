"""Resume, case by case: a bare TRL script beside Tenyson. Is the resumed training the same as the uninterrupted one?

    python benchmarks/resume.py [--only WORDS]

The bare script uses SFTTrainer and GRPOTrainer as their documentation shows, with `resume_from_checkpoint`, in fresh processes: one
trains whole, one is stopped at a checkpoint (by os._exit, after it is saved), one resumes. Tenyson's column is `tenyson
verify-resume`, which kills with SIGKILL. Compared are all losses after the checkpoint and the final weights, bit by bit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TASK = ROOT / "tests" / "tasks" / "echo_task.py"
LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}

# Steps of an epoch: SFT 8 (64 samples, batches of 8), GRPO 16 (64 prompts, 4 groups of 4 a step).
CASES: dict[str, dict[str, Any]] = {
    "SFT, in the middle of an epoch": {"job": "sft", "save": 5, "steps": 20},
    "SFT, in the second epoch": {"job": "sft", "save": 11, "steps": 20},
    "SFT, LoRA with dropout, at an epoch's boundary": {
        "job": "sft", "save": 8, "steps": 20, "peft": {**LORA, "lora_dropout": 0.2},
    },
    "SFT, losses logged every 4 steps": {"job": "sft", "save": 6, "steps": 20, "logging": 4},
    "SFT, early stopping in the middle of its patience": {"job": "sft", "save": 2, "steps": 120, "patience": 4, "stop": 54},
    "GRPO, in the first epoch": {"job": "rl", "save": 5, "steps": 14},
    "GRPO, in the second epoch": {"job": "rl", "save": 18, "steps": 24},
    "GRPO, in the middle of a batch that is used twice": {
        "job": "rl", "save": 5, "steps": 14, "trl": {"steps_per_generation": 2, "num_iterations": 2},
    },
    "GRPO, beta > 0 on an existing adapter": {"job": "rl", "save": 5, "steps": 14, "adapter": True, "beta": 0.1},
}  # fmt: skip


def bare(case: dict[str, Any], phase: str, folder: Path) -> None:
    """One process of the bare script: "whole", "stopped" or "resumed"."""
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        EarlyStoppingCallback,
        TrainerCallback,
        set_seed,
    )

    set_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    rows = [(letter, letter * 3) for letter in "abcdefghijklmnop" * 4]
    common: dict[str, Any] = {
        "output_dir": str(folder / phase.replace("resumed", "stopped")),
        "max_steps": case["steps"],
        "save_steps": case["save"],
        "save_strategy": "steps",
        "logging_steps": case.get("logging", 1),
        "learning_rate": 0.03 if "patience" in case else 0.003,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        **case.get("trl", {}),
    }
    peft_config = None
    if "peft" in case:
        from peft import LoraConfig

        peft_config = LoraConfig(task_type="CAUSAL_LM", **case["peft"])
    if case.get("adapter"):
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(folder / "adapter"), is_trainable=True)
    from datasets import Dataset

    callbacks: list[Any] = []
    if phase == "stopped":

        class Stop(TrainerCallback):
            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
                if state.global_step >= int(os.environ["STOP_AFTER"]):
                    os._exit(0)

        callbacks.append(Stop())
    if case["job"] == "sft":
        from trl import SFTConfig, SFTTrainer

        data = Dataset.from_list(
            [
                {
                    "prompt": [{"role": "user", "content": question}],
                    "completion": [{"role": "assistant", "content": answer}],
                }
                for question, answer in rows
            ]
        )
        if "patience" in case:
            common |= {
                "eval_strategy": "steps",
                "eval_steps": 2,
                "load_best_model_at_end": True,
                "save_total_limit": 3,
            }
            common |= {"metric_for_best_model": "eval_loss", "greater_is_better": False}
            callbacks.append(EarlyStoppingCallback(case["patience"]))
        trainer: Any = SFTTrainer(
            model=model,
            args=SFTConfig(per_device_train_batch_size=8, **common),
            train_dataset=data,
            eval_dataset=data.select(range(16)),
            processing_class=tokenizer,
            peft_config=peft_config,
            callbacks=callbacks,
        )
    else:
        from trl import GRPOConfig, GRPOTrainer

        def right(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
            return [
                one[0]["content"].count(letters[0]) / 8
                for one, letters in zip(completions, answer, strict=True)
            ]

        data = Dataset.from_list(
            [
                {"prompt": [{"role": "user", "content": question}], "answer": answer}
                for question, answer in rows
            ]
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=right,
            args=GRPOConfig(
                per_device_train_batch_size=16,
                num_generations=4,
                max_completion_length=6,
                beta=case.get("beta", 0.0),
                **common,
            ),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=peft_config,
            callbacks=callbacks,
        )
    trainer.train(resume_from_checkpoint=phase == "resumed" or None)
    losses = [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    trained = trainer.accelerator.unwrap_model(trainer.model)
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(trained.state_dict().items()):
        if ".ref." not in name:
            digest.update(name.encode() + tensor.detach().numpy().tobytes())
    (folder / f"{phase}.json").write_text(json.dumps({"losses": losses, "weights": digest.hexdigest()}))


def compare_bare(name: str, case: dict[str, Any], folder: Path) -> str:
    """In words: identical, or what differs."""
    begun = case["save"]
    for phase in ("whole", "stopped", "resumed"):
        if phase == "stopped" and "patience" in case:
            # Two evaluations before patience ends.
            begun = json.loads((folder / "whole.json").read_text())["losses"][-1][0] - 4
        command = [sys.executable, __file__, "--child", name, phase, str(folder)]
        environ = os.environ | {"STOP_AFTER": str(begun)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        if done.returncode:
            return f"{phase}: fails ({done.stderr.strip().splitlines()[-1][:80]})"
    whole, resumed = (json.loads((folder / f"{phase}.json").read_text()) for phase in ("whole", "resumed"))
    expected, found = (
        {step: loss for step, loss in one["losses"] if step > begun} for one in (whole, resumed)
    )
    if expected.keys() != found.keys():
        return (
            f"DIFFERENT: ends at step {max(found, default=begun)} instead of {max(expected, default=begun)}"
        )
    wrong = [step for step in expected if expected[step] != found[step]]
    if wrong:
        return f"DIFFERENT: {len(wrong)} of {len(expected)} losses, from step {wrong[0]} on"
    return "identical" if whole["weights"] == resumed["weights"] else "DIFFERENT weights"


def compare_tenyson(case: dict[str, Any], folder: Path) -> str:
    """The verdict of `tenyson verify-resume` on the same case."""
    import yaml

    training: dict[str, Any] = {
        "max_steps": case["steps"],
        "logging_steps": case.get("logging", 1),
        "learning_rate": 0.003,
    }
    training |= {"batch_size": 8} if case["job"] == "sft" else {"batch_size": 16, "num_generations": 4}
    training |= {"save_steps": case["save"], "beta": case.get("beta", 0.0)}
    if "patience" in case:
        training |= {"early_stopping_patience": case["patience"], "eval_steps": 2, "eval_samples": 16}
        training |= {"learning_rate": 0.03, "save_steps": None}
    config: dict[str, Any] = {
        "model": {"name": str(folder / "model")},
        "task": {"module": str(TASK)},
        "generation": {"max_new_tokens": 6, "engine": "transformers"},
        "training": training,
        "trl": case.get("trl", {}),
    }
    config |= {"peft": case["peft"]} if "peft" in case else {}
    if case.get("adapter"):
        config["model"]["adapter"] = str(folder / "adapter")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [
        Path(sys.executable).with_name("tenyson"),
        "verify-resume",
        "--config",
        folder / "config.yaml",
        "--json",
    ]
    command += ["--job", case["job"], "--kill-after", str(case.get("stop", case["save"]) + 2)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        return f"fails ({done.stderr.strip().splitlines()[-1][:80]})"
    verdict = json.loads(done.stdout)
    return "identical" if verdict["identical"] else f"DIFFERENT: {verdict['differences'][0]}"


def prepare(case: dict[str, Any], folder: Path) -> None:
    """The model, and the adapter of an earlier SFT where the case begins from one."""
    from tenyson.testing.tiny import build

    build(folder / "model", 0)
    if case.get("adapter"):
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(1)
        adapted: Any = get_peft_model(
            AutoModelForCausalLM.from_pretrained(folder / "model"), LoraConfig(task_type="CAUSAL_LM", **LORA)
        )
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        adapted.save_pretrained(folder / "adapter")


def main() -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--child", nargs=3, metavar=("CASE", "PHASE", "FOLDER"))
    options = parser.parse_args()
    if options.child:
        name, phase, folder = options.child
        bare(CASES[name], phase, Path(folder))
        return
    print("| resumed | bare TRL 1.16 | Tenyson |\n| --- | --- | --- |")
    for name, case in CASES.items():
        if options.only in name:
            with tempfile.TemporaryDirectory() as folder:
                prepare(case, Path(folder))
                print(
                    f"| {name} | {compare_bare(name, case, Path(folder))} | {compare_tenyson(case, Path(folder))} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
