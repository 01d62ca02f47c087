"""`tenyson push`: weights and a card, as one commit, against a Hub on loopback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.fakes.hub_server import HubServer

from tenyson.jobs.eval import EvalJob
from tenyson.jobs.sft import SFTJob

pytestmark = pytest.mark.train

TENYSON = Path(sys.executable).with_name("tenyson")
CANARY = "hf_" + "canary" * 6
PLAIN = "a-plain-word-that-opens-doors"
MODEL = {"factory": "tenyson.testing.tiny:build"}
ADAPTER = {"r": 4, "target_modules": "all-linear"}


@pytest.fixture
def hub():
    server = HubServer()
    yield server
    server.close()


@pytest.fixture
def tenyson(tmp_path, hub):
    """Runs a command with the Hub on loopback."""

    def run(*arguments, **variables):
        environment = os.environ | {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": CANARY,
            "HF_HOME": str(tmp_path / "hf"),
            **variables,
        }
        command = [str(TENYSON), *arguments]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def trained(configure, echo, tmp_path):
    """A run `sft` with an adapter, one `full` without, and an evaluation of the first; all in one database."""
    recorded = {"db_url": f"sqlite:///{tmp_path}/tenyson_telemetry.db", "sinks": ["sql"]}
    training = {"max_steps": 4, "batch_size": 8, "learning_rate": 0.01}
    common = {"model": MODEL, "telemetry": recorded}
    sft = configure("sft", training=training, peft=ADAPTER, task={"secrets": ["JUDGE_WORD"]}, **common)
    SFTJob(sft, echo).run()
    SFTJob(configure("full", training=training, **common), echo).run()
    measured = {"model": MODEL | {"adapter": "sft"}, "telemetry": recorded}
    EvalJob(configure("after", evaluation={"samples": 16}, **measured), echo).run()
    return tmp_path


def card_of(files):
    text = files["README.md"].decode()
    _, metadata, body = text.split("---\n", 2)
    return yaml.safe_load(metadata), body


def test_an_adapter_is_pushed_with_a_card_that_tells_how_it_came_about(tenyson, hub, trained):
    """One private commit; the interval of each metric is the evaluation's own."""
    done = tenyson("push", "sft", "someone/model", JUDGE_WORD=PLAIN)
    assert done.returncode == 0, done.stderr
    assert "/someone/model/commit/" in done.stdout
    first, (_, message, files) = hub.commits["someone/model"]
    assert message == "sft: adapter"
    assert first[2] == {}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "README.md"} <= files.keys()
    about, body = card_of(files)
    assert about["library_name"] == "peft"
    assert {"tenyson", "sft", "lora"} <= set(about["tags"])
    found = json.loads((trained / "outputs/after/results.json").read_text())["metrics"]["accuracy"]
    interval = f"{found['low']:.4g} to {found['high']:.4g}"
    assert f"| after | echo | eval | accuracy | {found['value']:.4g} | {interval} | 16 |" in body
    assert "| factory | tenyson.testing.tiny:build |" in body
    recipe = yaml.safe_load(re.search(r"```yaml\n(.*?)```", body, re.DOTALL)[1])
    assert recipe["training"] == {"max_steps": 4, "learning_rate": 0.01}
    assert recipe["peft"] == ADAPTER
    assert "telemetry" not in recipe
    assert "Versions: tenyson-core 0.1.0" in body


def test_secrets_are_in_no_file_and_a_new_repository_is_private(tenyson, hub, trained):
    """The token is sent as what it is; what a task's secret holds is struck from the card."""
    assert tenyson("push", "sft", "someone/model", JUDGE_WORD=PLAIN).returncode == 0
    pushed = b"".join(hub.files("someone/model").values())
    assert CANARY.encode() not in pushed
    assert PLAIN.encode() not in pushed
    assert f"Bearer {CANARY}" in hub.tokens
    assert hub.private["someone/model"] is True
    assert tenyson("push", "sft", "someone/open", "--public").returncode == 0
    assert hub.private["someone/open"] is False


def test_a_dry_run_prints_the_card_and_pushes_nothing(tenyson, hub, trained):
    """Also without a token."""
    done = tenyson("push", "full", "someone/model", "--dry-run", HF_TOKEN="")
    assert done.returncode == 0, done.stderr
    about, body = card_of({"README.md": done.stdout.encode()})
    assert about["library_name"] == "transformers"
    assert "No evaluation of this model is recorded." in body
    assert hub.commits == {}


def test_what_cannot_be_pushed_is_one_line(tenyson, hub, trained):
    """No token, a run that trained nothing, a Hub that refuses or is away."""
    done = tenyson("push", "sft", "someone/model", "--token-env", "MY_TOKEN")
    assert (done.returncode, "MY_TOKEN" in done.stderr) == (2, True)
    done = tenyson("push", "after", "someone/model")
    assert (done.returncode, "has trained no model" in done.stderr) == (2, True)
    done = tenyson("push", "sft", "someone/model", HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "not pushed" in done.stderr
    assert CANARY not in done.stderr
    assert hub.commits == {}


def test_what_looks_like_a_secret_is_struck_from_a_card():
    """Whoever wrote it into a configuration: by value, by the name of its key, by its form."""
    from tenyson.jobs.publishing.card import CardFacts, model_card
    from tenyson.telemetry.events.redact import Redactor

    args = {"note": PLAIN, "api_key": "whatever-it-is", "url": f"x {CANARY}"}
    config = {"model": {"name": "someone/base"}, "task": {"name": "echo", "args": args}}
    redactor = Redactor({"JUDGE_WORD": PLAIN}, names=["JUDGE_WORD"])
    card = model_card(CardFacts("r", "sft", "echo", "stopped", config, False), "someone/model", redactor)
    assert "base_model: someone/base" in card
    assert "The run ended as: stopped." in card
    for secret in (PLAIN, "whatever-it-is", CANARY):
        assert secret not in card
