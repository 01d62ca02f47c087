"""Evaluations of endpoints through the command line, beside those of a model of one's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.chat_server import ChatServer
from tests.fakes.forked import tenyson

TASK = Path(__file__).parents[1] / "tasks" / "echo_task.py"
KEY = "sk-canary-0123456789abcdefghijklmn"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copy(TASK, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def experiment(folder: Path, url: str, model: str, **generation) -> str:
    steps = [
        {"label": "ours", "job": "eval", "config": {"model": {"factory": "tenyson.testing.tiny:build"}}},
        {
            "label": "theirs",
            "job": "eval",
            "config": {
                "model": {"name": model},
                "endpoint": {
                    "url": url,
                    "api_key_env": "EVAL_OPENS",
                    "retry_seconds": 1,
                    "parameters": ["temperature", "repetition_penalty"],
                },
                "generation": {"engine": "openai"},
            },
        },
    ]
    shared = {
        "task": {"module": "./echo_task.py"},
        "evaluation": {"samples": 16},
        "generation": {"max_new_tokens": 6, "engine": "transformers", **generation},
    }
    (folder / "both.yaml").write_text(json.dumps({"name": "both", "shared": shared, "steps": steps}))
    return "both.yaml"


def rollouts(folder: Path, label: str) -> list[dict]:
    [events] = folder.glob(f"outputs/both-*-{label}/events.jsonl")
    found = [json.loads(line) for line in events.read_text().splitlines()]
    return [one for one in found if one["event"] == "RolloutFinished"]


@pytest.mark.train
def test_a_pipeline_measures_a_served_model_as_it_measures_the_model_itself(folder):
    """`tenyson serve` and the engine `openai`: greedy rollouts have the same tokens, rewards and ends."""
    from tenyson.testing.tiny import build

    build(folder / "served", 0)
    environment = os.environ | {"TENYSON_API_KEY": KEY, "EVAL_OPENS": KEY}
    program = str(Path(sys.executable).with_name("tenyson"))
    command = [program, "serve", "./served", "--engine", "transformers"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as serving:
        try:
            url = serving.stdout.readline().strip().partition("=")[2]
            done = tenyson(
                "run",
                # An untrained model repeats itself otherwise.
                experiment(folder, url, "./served", temperature=0.0, repetition_penalty=4.0),
                cwd=folder,
                env=environment,
            )
        finally:
            serving.terminate()
    assert done.returncode == 0, done.stderr
    ours, theirs = rollouts(folder, "ours"), rollouts(folder, "theirs")
    same = ("sample_id", "reward", "components", "finish_reason", "tokens")
    assert [[one[key] for key in same] for one in ours] == [[one[key] for key in same] for one in theirs]
    assert len({one["completion"] for one in theirs}) > 4
    assert len({one["prompt"] for one in ours}) == len({one["prompt"] for one in theirs}) > 4
    names = [next(folder.glob(f"outputs/both-*-{label}")).name for label in ("ours", "theirs")]
    compared = tenyson("compare", *names, "--json", cwd=folder, env=environment)
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["samples"] == {
        "shared": 16,
        "only_before": 0,
        "only_after": 0,
        "other_prompt": 0,
    }
    [report] = folder.glob("outputs/both-*/report.md")
    assert (
        f"Engine: openai (the configuration names it). Endpoint: {url} (./served): 17 requests"
        in report.read_text()
    )
    assert not [path for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def doctor(folder: Path, url: str, key: str | None, *arguments: str) -> subprocess.CompletedProcess:
    config = {
        "task": {"module": "./echo_task.py"},
        "model": {"name": "tiny"},
        "endpoint": {"url": url, "api_key_env": "EVAL_OPENS"},
        "generation": {"engine": "openai"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    environment = {name: value for name, value in os.environ.items() if name != "EVAL_OPENS"}
    environment |= {"EVAL_OPENS": key} if key else {}
    return tenyson(
        "doctor", "--config", "config.json", "--job", "eval", *arguments, cwd=folder, env=environment
    )


@pytest.mark.slow
def test_doctor_asks_something_tiny_and_shows_prompts(folder):
    with ChatServer(key=KEY) as server:
        done = doctor(folder, server.url, KEY)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"tiny answers at {server.url} (as tiny-2026-11-01)" in done.stdout
        assert "[user]\n" in done.stdout
        assert len(server.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "arguments", "said"),
    [
        (None, (), "EVAL_OPENS is not set"),
        ("wrong-key-0123456789", (), "it refuses the key in EVAL_OPENS (401"),
        (KEY, ("--set", "model.name=tinny"), "It has tiny."),
        (KEY, ("--set", "generation.top_k=3"), "add top_k to endpoint.parameters"),
    ],
)
def test_doctor_says_what_is_wrong(folder, key, arguments, said):
    with ChatServer(key=KEY) as server:
        done = doctor(folder, server.url, key, *arguments)
        assert done.returncode == 1
        assert said in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        assert len(server.requests) <= 1


def test_a_plan_shows_where_the_model_is(folder):
    done = tenyson(
        "run",
        experiment(folder, "https://api.example.com/v1", "gpt"),
        "--dry-run",
        cwd=folder,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert "gpt at api.example.com" in done.stdout
    assert "none here" in done.stdout


def test_a_step_that_asks_an_endpoint_takes_no_trained_model(folder):
    file = experiment(folder, "https://api.example.com/v1", "gpt")
    written = json.loads(Path(file).read_text())
    written["steps"][0] |= {"label": "trained", "job": "sft"}
    written["steps"][1] |= {"model_from": "trained"}
    del written["steps"][1]["config"]["model"]
    Path(file).write_text(json.dumps(written))
    done = tenyson("run", file, "--dry-run", cwd=folder, env=os.environ)
    assert done.returncode == 2
    assert "theirs asks a model behind a URL, so model_from: trained would have no effect" in done.stderr


def test_a_configuration_says_which_settings_of_an_endpoint_mean_nothing(folder):
    (folder / "local.json").write_text(
        json.dumps({"model": {"name": "m"}, "endpoint": {"url": "http://host/v1"}})
    )
    done = tenyson("config", "check", "local.json", "--job", "eval", cwd=folder, env=os.environ)
    assert done.returncode == 0
    assert "warning: local.json:1: endpoint: means nothing with generation.engine: auto" in done.stderr
