"""`tenyson config schema | check | show`, through the real executable."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

TENYSON = str(Path(sys.executable).parent / "tenyson")
GOOD = "model: {name: m}\ntraining: {learning_rate: 1e-4}\n"


def tenyson(*arguments):
    return subprocess.run([TENYSON, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def processor_seconds():
    """Of all processes that ended here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def write(tmp_path):
    def write(text, name="config.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_schema_is_a_json_schema_with_descriptions():
    """For editors: every key says what it means."""
    schema = json.loads(tenyson("config", "schema").stdout)
    training = schema["$defs"]["TrainingConfig"]
    assert training["additionalProperties"] is False
    assert training["properties"]["learning_rate"]["description"] == "Peak learning rate."
    for definition in schema["$defs"].values():
        assert all("description" in key for key in definition["properties"].values()), definition["title"]


def test_show_prints_a_configuration_that_loads_to_the_same(write):
    """With defaults and overrides filled in."""
    first = tenyson("config", "show", write(GOOD), "--set", "training.max_steps=5", "--set", "run.id=no")
    assert first.returncode == 0
    assert tenyson("config", "show", write(first.stdout, "again.yaml")).stdout == first.stdout
    as_json = tenyson("config", "show", write(first.stdout, "again.yaml"), "--json").stdout
    assert json.loads(as_json)["training"]["max_steps"] == 5
    assert tenyson("config", "show", write(as_json, "again.json")).stdout == first.stdout


def test_check_of_a_good_file(write):
    """One line, status 0."""
    path = write(GOOD)
    done = tenyson("config", "check", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}: fine\n", "")


def test_check_tells_every_problem_and_exits_with_2(write):
    """On stderr, and as JSON on stdout."""
    path = write("model: {nam: m}\ntraining: {batch_size: x}\n")
    done = tenyson("config", "check", path)
    assert done.returncode == 2
    assert f"error: {path}:1: model.nam: unknown key (did you mean model.name?)" in done.stderr
    assert f"error: {path}:2: training.batch_size: expected a whole number" in done.stderr
    as_json = tenyson("config", "check", path, "--json")
    assert as_json.returncode == 2
    problems = {problem["key"]: problem for problem in json.loads(as_json.stdout)}
    assert problems["training.batch_size"]["line"] == 2
    assert problems["training.batch_size"]["severity"] == "error"


def test_check_asks_the_plugins_for_their_settings(write):
    """Backend, sinks, engine and task, with lines and nearest names."""
    path = write(
        GOOD + "backend:\n  name: aws\n  settings:\n    instance_typ: x\n"
        "telemetry: {sinks: [sqll]}\ngeneration: {engine: vlm}\n"
    )
    done = tenyson("config", "check", path)
    assert done.returncode == 2
    assert f"{path}:6: backend.settings.instance_typ: unknown key (did you mean" in done.stderr
    assert "there is no sink named 'sqll' (Did you mean 'sql'?)" in done.stderr
    assert "there is no engine named 'vlm' (Did you mean 'vllm'?)" in done.stderr


@pytest.mark.train
def test_a_key_of_another_job_is_a_warning(write):
    """Told, and status 0: presets share keys."""
    path = write(GOOD + "evaluation:\n  samples: 10\n")
    done = tenyson("config", "check", path, "--job", "sft", "--set", "training.num_generations=4")
    assert done.returncode == 0, done.stderr
    assert f"warning: {path}:3: evaluation: means nothing to sft (read by eval)" in done.stderr
    assert "warning: --set: training.num_generations: means nothing to sft (read by rl)" in done.stderr
    assert tenyson("config", "check", path).stderr == ""


@pytest.mark.train
def test_check_for_a_job_asks_trl(write):
    """A wrong argument of TRL is found without training."""
    path = write(GOOD + "trl: {adam_epsilom: 1e-6}\n")
    done = tenyson("config", "check", path, "--job", "rl")
    assert done.returncode == 2
    expected = "trl.adam_epsilom: no argument of trl (did you mean trl.adam_epsilon?)"
    assert f"error: {path}:3: {expected}" in done.stderr


def bomb(path):
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    path.write_text("\n".join(lines))


def huge(path):
    with path.open("wb") as stream:
        stream.truncate(50_000_000)


CASES = {
    "malformed": lambda path: path.write_text("model: {name: m"),
    "alias bomb": bomb,
    "50 MB": huge,
    "NaN": lambda path: path.write_text("model: {name: m}\ntraining: {beta: .nan}\n"),
    "wrong type": lambda path: path.write_text("model: {name: m}\ntraining: [1]\n"),
    # Reading it fails for everybody, root included.
    "unreadable": lambda path: path.symlink_to("/proc/self/mem"),
    "missing": lambda path: None,
    "directory": lambda path: path.mkdir(),
    "binary": lambda path: path.write_bytes(os.urandom(999) + b"\0"),
    "deep": lambda path: path.write_text("[" * 900_000),
    "as large as allowed": lambda path: path.write_text("a: [" + "1," * 499_000 + "]"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
def test_what_is_no_configuration_gets_one_line_in_under_a_second(tmp_path, case, name):
    """Exit status 2; a file is not read beyond its bound."""
    path = tmp_path / name
    CASES[case](path)
    # Of a processor: on a busy machine a second on the clock says nothing.
    times = []
    for _ in range(2):
        begun = processor_seconds()
        done = tenyson("config", "show", path)
        times.append(processor_seconds() - begun)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {path}")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert min(times) < 1
