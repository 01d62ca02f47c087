"""The Hub: the real client against a server on loopback that keeps commits, fails for a moment, or is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.fakes.hub_server import HubServer

pytestmark = pytest.mark.train

TASK = Path(__file__).parents[1] / "tasks" / "echo_task.py"
TRAINING = {"max_steps": 6, "batch_size": 8, "learning_rate": 0.01, "save_steps": 2, "logging_steps": 1}
CANARY = "hf_" + "canary" * 6


@pytest.fixture
def hub():
    server = HubServer()
    yield server
    server.close()


@pytest.fixture
def train(configure, tmp_path):
    """Runs a job in a process of its own, as `python -m tenyson.runner` with the Hub at a URL."""

    def run(name, url, *arguments, **sections):
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(configure(name, **sections)))
        command = [sys.executable, "-m", "tenyson.runner", "--job-type", "sft", "--config", file]
        done = subprocess.run(
            [*command, "--task-module", TASK, *arguments],
            env=os.environ
            | {
                "HF_ENDPOINT": url,
                "HF_HUB_OFFLINE": "0",
                "HF_TOKEN": CANARY,
                "HF_HOME": str(tmp_path / "hf"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "outputs" / name / "job_result.json").read_text())

    return run


def losses(tmp_path, name):
    events = map(json.loads, (tmp_path / "outputs" / name / "events.jsonl").read_text().splitlines())
    return {
        event["step"]: event["values"]["loss"]
        for event in events
        if event["event"] == "MetricsLogged" and "loss" in event["values"]
    }


def test_weights_and_the_newest_checkpoint_are_pushed_and_another_machine_goes_on_from_them(
    train, hub, tmp_path
):
    """One commit each; the result names the repository and the commit; `repo:revision` resumes to the bit."""
    settings = {"repo_id": "someone/model", "checkpoints": True}
    result = train("whole", hub.url, training=TRAINING, hub=settings)
    assert result["hf_repo_id"] == "someone/model"
    oid, message, files = hub.commits["someone/model"][-1]
    assert result["hf_revision"] == oid
    assert message == "whole: model"
    assert {"model.safetensors", "config.json", "tokenizer.json", "tenyson.json"} <= set(files)
    assert files["checkpoints/LATEST"] == b"step-6\n"
    assert {name.split("/")[1] for name in files if name.startswith("checkpoints/step")} == {"step-6"}
    assert any("step-" in message for _, message, _ in hub.commits["someone/model"][:-1])
    pushed = b"".join(content for _, _, files in hub.commits["someone/model"] for content in files.values())
    assert CANARY.encode() not in pushed
    assert f"Bearer {CANARY}" in hub.tokens

    # A commit with an earlier checkpoint, as another machine would have found it then.
    earlier, message = next((oid, text) for oid, text, _ in hub.commits["someone/model"] if "step-" in text)
    reference = f"someone/model:{earlier}"
    train("elsewhere", hub.url, "--resume-from-checkpoint", reference, training=TRAINING)
    whole, resumed = losses(tmp_path, "whole"), losses(tmp_path, "elsewhere")
    begun = int(message.rpartition("-")[2])
    assert resumed == {step: loss for step, loss in whole.items() if step > begun}
    record = json.loads((tmp_path / "outputs/elsewhere/events.jsonl").read_text().splitlines()[0])
    assert record["inputs"][-1] == {"kind": "checkpoint", "reference": reference, "source_run_id": None}


@pytest.fixture
def in_process(configure, echo, monkeypatch):
    """Runs a job in this process, with the Hub at a URL and short waits between tries."""
    from huggingface_hub import constants

    from tenyson.jobs.checkpoints import hub
    from tenyson.jobs.sft import SFTJob

    def run(url, **settings):
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "RETRY_SECONDS", (0.01, 0.01))
        config = configure("run", training=TRAINING, hub={"repo_id": "someone/model", **settings})
        return SFTJob(config, echo).run()

    return run


def test_a_server_that_fails_for_a_moment_is_asked_again(in_process, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", CANARY)
    hub.failures = 1
    result = in_process(hub.url)
    assert hub.failures == 0
    assert result.hf_revision == hub.commits["someone/model"][-1][0]


def test_a_hub_that_cannot_be_reached_is_tried_again_and_then_told(in_process, tmp_path, events):
    """The run succeeds; what was not pushed is named in the results, and stays on the disk."""
    result = in_process("http://127.0.0.1:9", checkpoints=True)
    assert result.status == "success"
    assert result.hf_repo_id is None
    results = json.loads((tmp_path / "outputs/run/results.json").read_text())
    assert results["metadata"]["not_pushed"][-1] == "model"
    assert any(name.startswith("step-") for name in results["metadata"]["not_pushed"])
    assert [event for event in events("run", "Notice") if "not pushed to someone/model" in event["message"]]
    assert (tmp_path / "outputs/run/model/model.safetensors").is_file()


def test_the_best_checkpoint_is_pushed_with_the_newest_and_is_the_result_elsewhere(train, hub, tmp_path):
    """At this rate the loss rises from the first step on; another machine knows what was best before it."""
    training = {"max_steps": 4, "batch_size": 16, "learning_rate": 10.0, "lr_scheduler": "constant"}
    training |= {"eval_steps": 1, "eval_samples": 16, "early_stopping_patience": 100}
    settings = {"repo_id": "someone/model", "checkpoints": True}
    train("here", hub.url, training=training, hub=settings)
    files = hub.files("someone/model")
    assert {name.split("/")[1] for name in files if "/step-" in name} == {"step-1", "step-4"}
    train(
        "elsewhere",
        hub.url,
        "--resume-from-checkpoint",
        "someone/model",
        training=training | {"max_steps": 6},
    )
    trained = (tmp_path / "outputs/elsewhere/model/model.safetensors").read_bytes()
    assert trained == files["checkpoints/step-1/model.safetensors"]


def test_a_disk_without_room_for_the_copy_that_is_pushed_costs_the_push_and_not_the_checkpoint(
    in_process, hub, tmp_path, monkeypatch
):
    """What was begun of the copy does not stay."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tenyson.jobs.checkpoints.hub._link_or_copy", full)
    assert in_process(hub.url, checkpoints=True).hf_revision
    metadata = json.loads((tmp_path / "outputs/run/results.json").read_text())["metadata"]
    assert metadata["not_pushed"] == ["step-2", "step-4", "step-6"]
    assert metadata["failed_saves"] == 0
    assert not list((tmp_path / "outputs/run/checkpoints").glob(".push-*"))
