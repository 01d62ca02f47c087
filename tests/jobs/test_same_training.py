"""A resume is the same training: what scales or changes the trained state may differ only on purpose, and then it acts."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import yaml

from tenyson import runner
from tenyson.cli.main import main

pytestmark = pytest.mark.train

ECHO = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
SFT = {"max_steps": 2, "batch_size": 4, "save_steps": 2, "learning_rate": 0.01, "lr_scheduler": "constant"}
RL = {**SFT, "batch_size": 8, "num_generations": 4, "preflight_groups": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_configure):
    """The folders of an SFT and an RL training of an adapter, and of one of all weights, with checkpoints at step 2."""
    folder = tmp_path_factory.mktemp("trained")
    for name, job, sections in (
        ("sft", "sft", {"training": SFT, "peft": LORA}),
        ("full", "sft", {"training": SFT}),
        ("rl", "rl", {"training": RL, "peft": LORA}),
    ):
        file = folder / "job.yaml"
        file.write_text(yaml.safe_dump(make_configure(folder)(name, **sections)))
        assert runner.main(["--job-type", job, "--config", str(file), "--task-module", ECHO]) == 0
    return folder / "outputs"


@pytest.fixture
def resume(trained, tmp_path, configure, capsys, monkeypatch):
    """Resumes a run with other settings, to step 3; returns status and what was said."""
    # transformers logs to the stderr that it found when it was imported: in this process that of an earlier test, closed by now.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    shutil.copytree(trained, tmp_path / "outputs")

    def of(name, job="sft", training=None, peft=LORA, **sections):
        training = {**(RL if job == "rl" else SFT), "max_steps": 3, **(training or {})}
        peft = None if name == "full" or peft is None else {**LORA, **peft}
        file = tmp_path / "job.yaml"
        file.write_text(yaml.safe_dump(configure(name, training=training, peft=peft, **sections)))
        status = runner.main(
            [
                "--job-type",
                job,
                "--config",
                str(file),
                "--task-module",
                ECHO,
                "--resume-from-checkpoint",
                "latest",
            ]
        )
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return status, said

    return of


OTHER = {
    "the scale of the adapter": ("sft", {"peft": {"lora_alpha": 64}}, "peft.lora_alpha was 8 and is 64"),
    "how the rank scales": ("sft", {"peft": {"use_rslora": True}}, "peft.use_rslora was false and is true"),
    "dropout": ("sft", {"peft": {"lora_dropout": 0.5}}, "peft.lora_dropout was 0.0 and is 0.5"),
    "the rate": ("sft", {"training": {"learning_rate": 0.5}}, "training.learning_rate was 0.01 and is 0.5"),
    "the rate by TRL's name": ("sft", {"trl": {"learning_rate": 0.5}}, "trl.learning_rate was 0.01 and is 0.5"),
    "decay": ("sft", {"training": {"weight_decay": 0.1}}, "training.weight_decay was 0.0 and is 0.1"),
    "the schedule": ("sft", {"training": {"lr_scheduler": "cosine"}}, "training.lr_scheduler was constant and is cosine"),
    "which reasoning is learnt": ("sft", {"training": {"reasoning": "last"}}, "training.reasoning was keep and is last"),
    "betas": ("sft", {"trl": {"adam_beta2": 0.9}}, "trl.adam_beta2 was 0.999 and is 0.9"),
    "the batch": ("sft", {"training": {"batch_size": 8}}, "training.batch_size was 4 and is 8"),
    "accumulation": (
        "sft", {"training": {"gradient_accumulation_steps": 2}}, "training.gradient_accumulation_steps was 1 and is 2",
    ),
    "the length of rows": ("full", {"training": {"max_length": 4}}, "training.max_length was 1024 and is 4"),
    "the loss": ("rl", {"job": "rl", "trl": {"loss_type": "dr_grpo"}}, "trl.loss_type was dapo and is dr_grpo"),
    "the KL term": ("rl", {"job": "rl", "training": {"beta": 0.1}}, "training.beta was 0.0 and is 0.1"),
    "temperature": ("rl", {"job": "rl", "generation": {"temperature": 0.5}}, "generation.temperature was 1.0 and is 0.5"),
    "another rule of sampling": ("rl", {"job": "rl", "generation": {"min_p": 0.1}}, "generation.min_p was 0.0 and is 0.1"),
    "turns": ("rl", {"job": "rl", "generation": {"max_turns": 7}}, "generation.max_turns was "),
    "what the engine gets": ("rl", {"job": "rl", "engine_args": {"typical_p": 0.5}}, "engine_args was {} and is "),
    "the model under the adapter": (
        "sft", {"model": {"factory": "tenyson.testing.tiny:build", "factory_args": {"context": 128}}}, "model was ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHER)
def test_another_setting_is_refused_by_name(resume, case):
    """With what it was, what it is, and how to take it on purpose."""
    name, sections, told = OTHER[case]
    status, said = resume(name, **sections)
    assert status == 2, said
    assert "was written under other settings: " in said
    assert told in said
    assert f"training.accept_changes: [{told.split(' was ')[0]}]" in said


@pytest.mark.parametrize(
    ("name", "sections", "told"),
    [
        ("sft", {"job": "rl"}, "job was sft and is rl"),
        ("rl", {"job": "sft"}, "job was rl and is sft"),
        ("sft", {"peft": {"r": 8}}, "peft.r was 4 and is 8"),
        ("sft", {"peft": {"target_modules": ["v_proj"]}}, "peft.target_modules"),
        ("sft", {"peft": None}, "peft was an adapter and is all weights"),
        ("sft", {"trl": {"optim": "adafactor"}}, "trl.optim was adamw_torch and is adafactor"),
    ],
)
def test_what_no_resume_can_take_names_the_other_way(resume, name, sections, told):
    """Its tensors are of other things: begin a new run from it."""
    status, said = resume(name, **sections)
    assert status == 2, said
    assert told in said
    assert "Begin a new run from it: set model.adapter" in said


def test_a_change_on_purpose_acts_and_is_recorded(resume, tmp_path, events):
    """transformers would train on with the checkpoint's rate and decay in silence. The next resume knows the new ones."""
    changed = {"learning_rate": 0.002, "weight_decay": 0.3, "lr_scheduler": "linear", "logging_steps": 1}
    accepted = ["training.learning_rate", "training.weight_decay", "training.lr_scheduler"]
    status, said = resume(
        "sft", training={**changed, "max_steps": 4, "save_steps": 1, "accept_changes": accepted}
    )
    assert status == 0, said
    folder = tmp_path / "outputs" / "sft"
    rates = {event["step"]: event["values"].get("learning_rate") for event in events("sft", "MetricsLogged")}
    assert rates[3] == pytest.approx(0.002 * 0.5)
    about = json.loads((folder / "results.json").read_text())["metadata"]["accepted_changes"]
    assert about["training.learning_rate"] == [0.01, 0.002]
    assert set(about) == set(accepted)
    assert any(
        "training.weight_decay was 0.0 and is 0.3" in event["message"] for event in events("sft", "Notice")
    )
    from safetensors import safe_open

    with safe_open(folder / "checkpoints" / "step-4" / "optimizer.safetensors", "pt") as file:
        groups = json.loads(file.metadata()["state"])["param_groups"]
    assert groups[0]["weight_decay"] == 0.3
    assert resume("sft", training={**changed, "max_steps": 5})[0] == 0


def test_what_may_always_change_is_no_change(resume):
    """How long it is, what is logged, and when it is saved."""
    longer = {
        "max_steps": 4,
        "logging_steps": 2,
        "save_steps": 1,
        "save_total_limit": 5,
        "save_in_background": False,
    }
    assert resume("sft", training=longer)[0] == 0
    assert resume("rl", job="rl", training=longer | {"eval_steps": 2, "eval_samples": 4})[0] == 0


def test_doctor_tells_a_resume_that_would_be_refused(resume, tmp_path, capsys):
    """Before a machine is rented for it."""
    assert resume("sft", peft={"lora_alpha": 64})[0] == 2
    file = str(tmp_path / "job.yaml")
    assert (
        main(
            [
                "doctor",
                "--config",
                file,
                "--job",
                "sft",
                "--task",
                ECHO,
                "--set",
                "training.resume_from_checkpoint=latest",
            ]
        )
        == 1
    )
    assert "peft.lora_alpha was 8 and is 64" in capsys.readouterr().out


def test_a_checkpoint_without_a_record_is_compared_by_its_files(resume, tmp_path):
    """Of an earlier version."""
    from tenyson.jobs.checkpoints.publication import MANIFEST, publish

    checkpoint = tmp_path / "outputs" / "sft" / "checkpoints" / "step-2"
    about = json.loads((checkpoint / "resume.json").read_text())
    del about["training"]
    (checkpoint / "resume.json").write_text(json.dumps(about))
    (checkpoint / MANIFEST).unlink()
    checkpoint.rename(draft := checkpoint.with_name(".draft-it"))
    publish(draft, checkpoint)
    assert "peft.lora_alpha was 8 and is 64" in resume("sft", peft={"lora_alpha": 64})[1]
    assert "job was sft and is rl" in resume("sft", job="rl")[1]
    assert resume("sft")[0] == 0
