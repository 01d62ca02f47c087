"""Checkpoints, models and adapters that were written damaged: one line that names the file, status 2; `latest` takes the one before."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import yaml

from tenyson import runner
from tenyson.jobs.checkpoints.publication import MANIFEST, publish

pytestmark = pytest.mark.train

ECHO = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
LORA = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
TRAINING = {"max_steps": 2, "batch_size": 4, "save_steps": 1, "save_total_limit": None}
HUGE = (2**62).to_bytes(8, "little") + b"{}"
DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


class Bomb:
    """What a hostile pickle does."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_configure):
    """The folders of a training of all weights and of one of an adapter, each with checkpoints at steps 1 and 2."""
    folder = tmp_path_factory.mktemp("trained")
    configure = make_configure(folder)
    for name, peft in (("full", None), ("lora", LORA)):
        file = folder / "job.yaml"
        file.write_text(yaml.safe_dump(configure(name, training=TRAINING, peft=peft)))
        assert runner.main(["--job-type", "sft", "--config", str(file), "--task-module", ECHO]) == 0
    return folder / "outputs"


@pytest.fixture
def run(trained, tmp_path, configure, monkeypatch, capsys):
    """Runs a job of "full" or "lora" on its own copy of the folders; returns status and what was said."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "outputs")

    def of(name, resume=None, job="sft", **sections):
        sections = {
            "training": TRAINING | {"max_steps": 3},
            "peft": LORA if name == "lora" else None,
        } | sections
        if job == "eval":
            sections = {key: value for key, value in sections.items() if key not in ("training", "peft")}
            sections["evaluation"] = {"samples": 2}
        file = tmp_path / "job.yaml"
        file.write_text(yaml.safe_dump(configure(name, **sections)))
        resume = ["--resume-from-checkpoint", resume] if resume else []
        status = runner.main(["--job-type", job, "--config", str(file), "--task-module", ECHO, *resume])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert not Path("exploded").exists()
        return status, said.err

    return of


def spoil(file: Path, content: object) -> None:
    """Write something else into a file; a mapping changes a JSON object, a function changes its data."""
    if callable(content):
        content = content(json.loads(file.read_text()))
    elif isinstance(content, dict):
        content = json.loads(file.read_text()) | content
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def again(checkpoint: Path) -> None:
    """Publish a checkpoint as it is now: the sums of its manifest hold."""
    (checkpoint / MANIFEST).unlink()
    draft = checkpoint.with_name(".draft-it")
    checkpoint.rename(draft)
    publish(draft, checkpoint)


def without(*names: str):
    """Takes keys away."""
    return lambda data: {key: value for key, value in data.items() if key not in names}


DAMAGES = {
    "tensors that are a pickle": ("adapter_model.safetensors", pickle.dumps(Bomb())),
    "a header that is no JSON": ("adapter_model.safetensors", (8).to_bytes(8, "little") + b"not json"),
    "a header of 2^62 bytes": ("optimizer.safetensors", HUGE),
    "an empty file of tensors": ("optimizer.safetensors", b""),
    "a header nested deeply": ("adapter_model.safetensors", len(DEEP).to_bytes(8, "little") + DEEP),
    "null for the state": ("trainer_state.json", b"null"),
    "text for a step": ("trainer_state.json", {"global_step": "two"}),
    "another step": ("trainer_state.json", {"global_step": 7}),
    "a history of numbers": ("trainer_state.json", {"log_history": [1, 2]}),
    "callbacks that are a list": ("trainer_state.json", {"stateful_callbacks": ["TrainerControl"]}),
    "a key that transformers does not know": ("trainer_state.json", {"from_the_future": 1}),
    "a state nested deeply": ("trainer_state.json", DEEP),
    "a state that is empty": ("trainer_state.json", b""),
    "a state that is no text": ("trainer_state.json", b"\xff\xfe\x00"),
    "a list for who wrote it": ("resume.json", b"[1, 2]"),
    "text for processes": ("resume.json", {"processes": "one"}),
    "nobody's processes": ("resume.json", without("processes")),
    "a list for a process": ("rank-0.json", b"[]"),
    "half of what a process keeps": ("rank-0.json", without("loss_sum", "metrics")),
    "text for a sum": ("rank-0.json", {"loss_sum": "much"}),
    "a schedule that runs code": ("scheduler.pt", pickle.dumps(Bomb())),
    "a schedule that is a list": ("scheduler.pt", pickle.dumps([1], protocol=2)),
    "random numbers that are text": ("rng_state.pth", b"4"),
    "an adapter's configuration that is a list": ("adapter_config.json", b"[]"),
    "a tokenizer that is cut": ("tokenizer.json", b'{"version": "1.0", "trunc'),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_checkpoint_written_damaged_is_one_line_that_names_the_file(run, tmp_path, case):
    """The manifest's sums hold: it was written so."""
    name, content = DAMAGES[case]
    checkpoint = tmp_path / "outputs" / "lora" / "checkpoints" / "step-2"
    spoil(checkpoint / name, content)
    again(checkpoint)
    status, said = run("lora", str(checkpoint))
    assert status == 2, said
    [line] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {checkpoint / name}: this file is damaged: ")


@pytest.mark.parametrize(
    "case", ["a header of 2^62 bytes", "null for the state", "half of what a process keeps"]
)
def test_latest_takes_the_checkpoint_before_a_damaged_one(run, tmp_path, events, case):
    """And names the damaged one."""
    name, content = DAMAGES[case]
    checkpoint = tmp_path / "outputs" / "lora" / "checkpoints" / "step-2"
    spoil(checkpoint / name, content)
    again(checkpoint)
    assert run("lora", "latest")[0] == 0
    assert [event["step"] for event in events("lora", "AttemptBegan")] == [0, 1]
    told = [event["message"] for event in events("lora", "Notice") if event["level"] == "warning"]
    assert any(f"{checkpoint}: {name}: " in message for message in told)


def test_a_pointer_that_is_damaged_points_nowhere(run, tmp_path):
    """The folders are there all the same."""
    (tmp_path / "outputs" / "lora" / "checkpoints" / "LATEST").write_bytes(b"\xff\xfe step-" + b"9" * 5000)
    assert run("lora", "latest")[0] == 0


def retensor(file: Path, change, metadata=None) -> None:
    """Change the tensors of a file, and what its header says beside them."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(file, "pt") as opened:
        about = opened.metadata()
    save_file(change(load_file(file)), file, metadata=metadata(about) if metadata else about)


def first(tensors, change):
    """Change the first tensor that is a matrix."""
    name = next(name for name in sorted(tensors) if tensors[name].dim() == 2)
    return tensors | {name: change(tensors[name])}


def regroup(change):
    """Change the first group of parameters in an optimizer's metadata."""

    def of(about):
        state = json.loads(about["state"])
        state["param_groups"] = change(state["param_groups"])
        return about | {"state": json.dumps(state)}

    return of


TENSORS = {
    "other shapes of weights": ("full", "model.safetensors", lambda t: first(t, lambda one: one[:3].clone()), None),
    "other names of weights": (
        "full", "model.safetensors", lambda t: {f"x.{name}": one for name, one in t.items()}, None,
    ),
    "weights that are whole numbers": ("full", "model.safetensors", lambda t: first(t, lambda one: one.long()), None),
    "other shapes of an adapter": ("lora", "adapter_model.safetensors", lambda t: first(t, lambda one: one[:, :1].clone()), None),
    "an adapter of whole numbers": ("lora", "adapter_model.safetensors", lambda t: first(t, lambda one: one.int()), None),
    "an adapter of other modules": (
        "lora", "adapter_model.safetensors", lambda t: {name.replace("q_proj", "k_proj"): one for name, one in t.items()}, None,
    ),
    "other shapes of moments": ("lora", "optimizer.safetensors", lambda t: first(t, lambda one: one[:, :1].clone()), None),
    "a moment that is missing": (
        "lora", "optimizer.safetensors", lambda t: {name: one for name, one in t.items() if name != "1.exp_avg"}, None,
    ),
    "no metadata of the optimizer": ("lora", "optimizer.safetensors", dict, lambda about: {"format": "pt"}),
    "more groups of parameters": ("lora", "optimizer.safetensors", dict, regroup(lambda groups: groups * 2)),
    "a group without its rate": ("lora", "optimizer.safetensors", dict, regroup(lambda groups: [without("betas")(groups[0]), *groups[1:]])),
    "a group with text for its rate": ("lora", "optimizer.safetensors", dict, regroup(lambda groups: [groups[0] | {"lr": "x"}, *groups[1:]])),
    "groups that are a number": ("lora", "optimizer.safetensors", dict, regroup(lambda groups: 3)),
}  # fmt: skip


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_do_not_belong_to_this_training_are_refused(run, tmp_path, case):
    """Also those that torch would take, and fail on in the next step, or read in silence."""
    name, file, change, metadata = TENSORS[case]
    checkpoint = tmp_path / "outputs" / name / "checkpoints" / "step-2"
    retensor(checkpoint / file, change, metadata)
    again(checkpoint)
    status, said = run(name, str(checkpoint))
    assert status == 2, said
    [line] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {checkpoint / file}: ")


MODELS = {
    "weights that are a pickle": ("full", "model.safetensors", pickle.dumps(Bomb())),
    "weights that are cut": ("full", "model.safetensors", lambda: None),
    "a configuration that is a list": ("full", "config.json", b"[]"),
    "a configuration of text": ("full", "config.json", {"hidden_size": "wide"}),
    "a model that transformers does not know": ("full", "config.json", {"model_type": "nosuch"}),
    "a tokenizer that is none": ("full", "tokenizer.json", {"model": {"type": "nosuch"}}),
    "settings of a tokenizer that are null": ("full", "tokenizer_config.json", b"null"),
    "generation that is nested deeply": ("full", "generation_config.json", DEEP),
    "an index of files that are not there": (
        "full", "model.safetensors.index.json", b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}',
    ),
    "an index that leads elsewhere": ("full", "model.safetensors.index.json", b'{"weight_map": {"a": "../../x.safetensors"}}'),
    "a fingerprint that is a list": ("full", "tenyson.json", b"[]"),
    "an adapter that is a pickle": ("lora", "adapter_model.safetensors", pickle.dumps(Bomb())),
    "an adapter's configuration that is null": ("lora", "adapter_config.json", b"null"),
    "an adapter of text": ("lora", "adapter_config.json", {"r": "two"}),
    "an adapter of another kind": ("lora", "adapter_config.json", {"peft_type": "NOSUCH"}),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_a_damaged_model_or_adapter_is_one_line_that_names_it(run, tmp_path, case):
    """For an evaluation; a training reads them in the same way."""
    name, file, content = MODELS[case]
    folder = tmp_path / "outputs" / name / ("model" if name == "full" else "adapter")
    if content is MODELS["weights that are cut"][2]:
        content = (folder / file).read_bytes()[:-100]
    spoil(folder / file, content)
    model = {"name": str(tmp_path / "outputs" / "full" / "model")}
    status, said = run("eval", job="eval", model=model | ({"adapter": str(folder)} if name == "lora" else {}))
    assert status == 2, said
    [line] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {folder}")


def test_weights_that_lack_a_tensor_do_not_begin_with_random_numbers(run, tmp_path):
    """transformers fills the gap, and says so where nobody looks."""
    folder = tmp_path / "outputs" / "full" / "model"
    lost = "model.layers.0.self_attn.q_proj.weight"
    retensor(
        folder / "model.safetensors",
        lambda tensors: {name: one for name, one in tensors.items() if name != lost},
    )
    for job in ("eval", "sft"):
        status, said = run(job, job=job, model={"name": str(folder)})
        assert status == 2, said
        assert f"lack 1 tensors of the model, such as {lost}" in said
