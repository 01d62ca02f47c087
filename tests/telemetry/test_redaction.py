"""Secrets are struck out before any sink sees an event: by exact value, by key name and by pattern."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from recording import metrics, rollout, started

from tenyson.telemetry.events import Notice, RunFinished
from tenyson.telemetry.events.redact import MASK, Redactor

TOKEN = "q7" * 20

LOOKS_SECRET = {
    "Hugging Face": "hf_" + "aB3" * 12,
    "OpenAI": "sk-proj-" + "aB3_" * 8,
    "AWS": "AKIA" + "Q7" * 8,
    "GitHub": "ghp_" + "aB3" * 12,
    "GitHub, fine-grained": "github_pat_" + "aB3_" * 8,
    "GitLab": "glpat-" + "aB3_" * 6,
    "Slack": "xoxb-123456789012-" + "aB3" * 8,
    "Google": "AIza" + "aB3_-" * 7,
    "W&B": "wandb_v1_" + "aB3_" * 8,
    "Modal": "ak-" + "aB3" * 8,
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.sflKxwRJ",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "bearer": "Bearer " + "aB3." * 6,
    "URL": "https://me:hunter2@example.org/x",
}
"""Made up, in the form of each."""


@pytest.mark.parametrize("kind", LOOKS_SECRET)
def test_what_looks_like_a_secret_is_struck_from_whatever_is_said(kind):
    """In a notice, a configuration, a result and what an environment tells."""
    secret, redact = LOOKS_SECRET[kind], Redactor({})
    for event in (
        Notice(run_id="r", level="error", message=f"login with {secret} failed"),
        started(provenance={"host": secret}),
        rollout(info={"tool": [f"said {secret}"]}),
        RunFinished(run_id="r", status="failed", result={"failure_reason": secret}, reason=secret),
    ):
        clean = redact(event)
        text = repr(vars(clean))
        for part in (secret.removeprefix("Bearer "), "hunter2", "MIIEow"):
            if part in secret:
                assert part not in text
        assert MASK in text


def test_what_stands_under_the_name_of_a_secret_is_struck_out():
    """In configurations and results, at any depth; names that only sound like it are kept."""
    config = {
        "backend": {"settings": [{"api_key": "short"}, {"password": "x"}]},
        "hf_token": "y",
        "trl": {"eos_token": "<eos>", "pad_token": "<pad>", "max_tokens": 5},
        "hub": {"token_env": "HF_TOKEN"},
        "nothing": {"secret": None},
    }
    clean = Redactor({})(_with_config(config)).config
    assert clean["backend"] == {"settings": [{"api_key": MASK}, {"password": MASK}]}
    assert clean["hf_token"] == MASK
    assert clean["trl"] == config["trl"]
    assert clean["hub"] == config["hub"]
    assert clean["nothing"] == {"secret": None}


def _with_config(config):
    from dataclasses import replace

    return replace(started(), config=config)


def test_names_that_only_contain_a_secrets_beginning_are_kept():
    """Run ids and folders must be readable: `task-` ends like a key of OpenAI begins."""
    message = "the last lines of outputs/preset-task-broken-20261125-164324-6534-sft/log.txt"
    assert Redactor({})(Notice(run_id="r", level="error", message=message)).message == message


def test_model_text_is_data():
    """A completion that looks like a token stays; one that holds the value of a variable does not."""
    redact = Redactor({"MY_TOKEN": TOKEN, "HOME": "/home/somebody"})
    text = f"I think the key is {LOOKS_SECRET['OpenAI']} in /home/somebody"
    event = rollout(completion=text, prompt=text, info={"secret": "crane", "turns": 3})
    assert redact(event) is event
    assert redact(rollout(completion=f"it is {TOKEN}")).completion == f"it is {MASK}"


def test_an_event_without_secrets_is_not_copied():
    """The usual case costs nothing."""
    redact = Redactor({"HF_TOKEN": TOKEN})
    for event in (metrics(1), rollout(), started()):
        assert redact(event) is event


def test_a_batch_is_searched_in_its_encoded_form():
    """Values with quotes, backslashes and other than ASCII letters are found in JSON too."""
    from tenyson.telemetry.events.encoder import Encoder

    for secret in ('with "quotes" and \\ in it', "schlüssel-🔑-lang", "line\nbreak-in-it"):
        redact = Redactor({"SOME_SECRET": secret})
        events = [rollout(), rollout(completion=f"so: {secret}!"), metrics(1)]
        clean = redact.batch(events, Encoder().encode(events))
        assert clean[1].completion == f"so: {MASK}!"
        odd = [rollout(completion=f"{secret} \ud800")]
        assert secret not in redact.batch(odd, Encoder().encode(odd))[0].completion


CANARIES = {
    name: f"canary{number}" + "Zx9" * 9
    for number, name in enumerate(
        ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "MY_HUB_CRED", "OPENAI_API_KEY")
    )
}

LEAKY_TASK = '''
"""A task whose prompts, samples and rewards hold what must not get out."""

import os

from tenyson.tasks import Metric, Reward, Sample, TaskPlugin

SECRETS = " ".join(os.environ[name] for name in NAMES)


class LeakyTask(TaskPlugin):
    name = "leaky"

    def rl_samples(self, split, seed):
        for number in range(32):
            yield Sample(str(number), [{"role": "user", "content": f"{number} {SECRETS}"[:60 + number]}])

    eval_samples = rl_samples

    def rewards(self):
        return [Reward("length", lambda rollout: float(len(rollout.text)))]

    def metrics(self, rollouts):
        return {"n": Metric.mean([1.0 for _ in rollouts])}

    def provenance(self):
        return {"data": SECRETS}
'''


@pytest.mark.train
def test_no_secret_of_a_real_job_is_found_anywhere(tmp_path):
    """Database, spool, logs, results, W&B's files, of a job that ends and of one that is killed."""
    pytest.importorskip("wandb")
    task = tmp_path / "leaky_task.py"
    task.write_text(LEAKY_TASK.replace("NAMES", repr(list(CANARIES))))
    config = {
        "run": {"output_dir": str(tmp_path / "outputs")},
        "model": {"factory": "tenyson.testing.tiny:build", "factory_args": {"context": 512}},
        "training": {"max_steps": 4, "batch_size": 8, "num_generations": 4},
        "generation": {"max_new_tokens": 4, "engine": "transformers"},
        "telemetry": {"db_url": f"sqlite:///{tmp_path}/t.db", "sinks": ["console", "jsonl", "sql", "wandb"]},
        "wandb": {"project": "p", "mode": "offline"},
        "hub": {"token_env": "MY_HUB_CRED"},
    }
    environ = os.environ | CANARIES | {"TENYSON_CACHE": str(tmp_path / "cache")}

    def start(run_id, steps):
        config["run"]["id"], config["training"]["max_steps"] = run_id, steps
        path = tmp_path / f"{run_id}.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "tenyson.runner", "--job-type", "rl", "--config", str(path)]
        with (tmp_path / f"{run_id}.log").open("w") as log:
            return subprocess.Popen(
                [*command, "--task-module", str(task)], cwd=tmp_path, env=environ, stdout=log, stderr=log
            )

    ended = start("ended", 4)
    assert ended.wait(timeout=240) == 0, (tmp_path / "ended.log").read_text()
    killed = start("killed", 100_000)
    spool = tmp_path / "outputs" / "killed" / "spool"
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 20_000 for path in spool.glob("*.spool")):
        assert time.monotonic() < deadline, (tmp_path / "killed.log").read_text()
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts]
    kinds = {path.suffix for path in files}
    assert {".db", ".jsonl", ".spool", ".wandb", ".json", ".yaml", ".log"} <= kinds
    for name, canary in CANARIES.items():
        leaks = [str(path) for path in files if canary.encode() in path.read_bytes()]
        assert leaks == [], f"{name} is in {leaks}"
    # Struck out, not left out.
    assert b"***" in (tmp_path / "outputs" / "ended" / "events.jsonl").read_bytes()


def test_the_spool_is_read_by_its_owner_alone(tmp_path):
    """It holds prompts and completions."""
    from recording import writer

    writer(tmp_path)
    (path,) = (tmp_path / "spool").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert Path(path).name.endswith("-00000.spool")
