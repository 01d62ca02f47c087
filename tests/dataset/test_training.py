"""A file is trained on as a bare TRL script trains on it, exactly, and again only where it has changed."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

import pytest
from tests.fakes.forked import tenyson

from tenyson.jobs.dpo import DPOJob
from tenyson.jobs.sft import SFTJob
from tenyson.tasks.load import load_task
from tenyson.testing.tiny import build

pytestmark = pytest.mark.train

TRAINING = {"max_steps": 8, "batch_size": 8, "learning_rate": 0.003, "logging_steps": 1, "max_length": 64}
BARE = {
    "seed": 0, "data_seed": 0, "max_steps": 8, "per_device_train_batch_size": 8, "learning_rate": 0.003, "logging_steps": 1,
    "gradient_checkpointing": False, "use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a tiny model, rows of messages and pairs; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENYSON_CACHE", str(tmp_path / "cache"))
    build(tmp_path / "model", 0)
    draw = random.Random(0)
    with (tmp_path / "data.jsonl").open("w") as rows, (tmp_path / "pairs.jsonl").open("w") as pairs:
        for _ in range(96):
            first, second = draw.randrange(50), draw.randrange(50)
            ask, right = (
                {"role": "user", "content": f"{first}+{second}"},
                {"role": "assistant", "content": f"{first + second}"},
            )
            wrong = {"role": "assistant", "content": f"{first + second + 1}"}
            rows.write(json.dumps({"messages": [ask, right]}) + "\n")
            pairs.write(json.dumps({"prompt": [ask], "chosen": [right], "rejected": [wrong]}) + "\n")
    return tmp_path


def config(folder, run, **args):
    return {
        "run": {"id": run, "output_dir": str(folder / "outputs")},
        "model": {"name": str(folder / "model")},
        "task": {"name": "dataset", "args": args},
        "training": TRAINING,
        "telemetry": {"sinks": ["jsonl"]},
    }


def losses(folder, run):
    lines = map(json.loads, (folder / "outputs" / run / "events.jsonl").read_text().splitlines())
    return [
        one["values"]["loss"] for one in lines if one["event"] == "MetricsLogged" and "loss" in one["values"]
    ]


def bare(trainer):
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_losses_of_sft_equal_those_of_a_bare_trl_script_on_the_same_file(folder):
    """`datasets` reads the file there, and TRL renders it."""
    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    args = {"data": "data.jsonl"}
    SFTJob(config(folder, "ours", **args), load_task("dataset", args)).run()
    rows = load_dataset("json", data_files="data.jsonl", split="train", cache_dir=str(folder / "hf"))
    rows = rows.map(
        lambda row: {"prompt": row["messages"][:1], "completion": row["messages"][1:]},
        remove_columns="messages",
    )
    theirs = bare(
        SFTTrainer(
            model=str(folder / "model"), args=SFTConfig(output_dir=str(folder / "bare"), **BARE), train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        )
    )  # fmt: skip
    assert len(theirs) == 8
    assert losses(folder, "ours") == theirs


def test_losses_of_dpo_equal_those_of_a_bare_trl_script_on_the_same_file(folder):
    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    args = {"data": "pairs.jsonl"}
    DPOJob(config(folder, "ours", **args), load_task("dataset", args)).run()
    rows = load_dataset("json", data_files="pairs.jsonl", split="train", cache_dir=str(folder / "hf"))
    theirs = bare(
        DPOTrainer(
            model=str(folder / "model"), args=DPOConfig(output_dir=str(folder / "bare"), **BARE), train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        )
    )  # fmt: skip
    assert len(theirs) == 8
    assert losses(folder, "ours") == theirs


@pytest.mark.slow
@pytest.mark.parametrize("job", ["sft", "dpo"])
def test_a_killed_and_resumed_training_on_a_file_is_the_same_to_the_bit(folder, job):
    from tenyson.jobs.checkpoints.verification import verify_resume

    args = {"data": "data.jsonl" if job == "sft" else "pairs.jsonl"}
    one = config(folder, "v", **args) | {"training": {**TRAINING, "save_steps": 3}}
    spec = (SFTJob if job == "sft" else DPOJob)(one, load_task("dataset", args)).spec()
    (folder / "verify").mkdir()
    comparison = verify_resume(spec, folder / "verify", lambda last: (5,), lambda line: None)
    assert comparison.identical, comparison


def three_commands(folder, *words):
    done = tenyson(*words, cwd=folder, one_stream=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_three_commands_lead_from_a_file_to_a_trained_and_evaluated_model_with_a_report(folder):
    """No Python, and no configuration written by hand; what ran is a file that runs again."""
    assert "96 rows, format messages" in three_commands(folder, "data", "data.jsonl", "--model", "model")
    said = three_commands(
        folder,
        "train",
        "data.jsonl",
        "--model",
        "model",
        "--full",
        "--lr",
        "3e-3",
        "--max-steps",
        "12",
        "--eval-fraction",
        "0.2",
    )
    assert "model:\n    name: ../model" in said
    run = said.rstrip().rpartition(" ")[2]
    assert (folder / "outputs" / run / "model" / "model.safetensors").is_file()
    said = three_commands(
        folder, "eval", "data.jsonl", "--model", "model", "--model", run, "--max-new-tokens", "4"
    )
    assert f"{run} held out 20% of this data" in said
    report = next(Path(line.split()[-1]) for line in said.splitlines() if line.startswith("report:"))
    text = (folder / report).read_text()
    assert "exact" in text
    assert run in text
    with sqlite3.connect(folder / "tenyson_telemetry.db") as database:
        (rollouts,) = database.execute("SELECT count(*) FROM rollouts").fetchone()
    assert rollouts > 10
    again = three_commands(folder, "run", "outputs/train-data.yaml")
    assert "reused" in again


@pytest.mark.slow
def test_an_unchanged_file_is_reused_and_a_changed_row_is_named_by_why(folder):
    words = ("train", "data.jsonl", "--model", "model", "--full", "--max-steps", "2", "--eval-fraction", "0")
    three_commands(folder, *words)
    assert "reused" in three_commands(folder, *words)
    lines = (folder / "data.jsonl").read_text().splitlines(keepends=True)
    (folder / "data.jsonl").write_text("".join([*lines[:-1], lines[0]]))
    assert "reused" not in three_commands(folder, *words)
    assert "data.jsonl" in three_commands(folder, "why", "train")
