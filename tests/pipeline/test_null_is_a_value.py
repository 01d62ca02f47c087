"""null is a value in a step's config as everywhere else, and `${default}` takes a key away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenyson.cli.main import main
from tenyson.config.load import parse_config

TASK = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
SHARED = f"""
shared:
  model: {{factory: "tenyson.testing.tiny:build"}}
  task: {{module: {TASK}}}
  training: {{max_steps: 4, save_total_limit: 3}}
  peft: {{r: 4}}
"""


@pytest.fixture
def steps(tmp_path, monkeypatch, capsys):
    """The resolved configuration of each step, as `tenyson run FILE --dry-run --json` prints it."""

    def plan(text, *words, shared=SHARED):
        monkeypatch.chdir(tmp_path)
        Path("experiment.yaml").write_text(shared + text)
        assert main(["run", "experiment.yaml", "--dry-run", "--json", *words]) == 0
        return {step["label"]: step["config"] for step in json.loads(capsys.readouterr().out)["steps"]}

    return plan


def test_null_in_a_step_is_null_and_not_the_default(steps):
    """A step that keeps all checkpoints, cuts nothing and saves nothing on the way gets exactly that."""
    training = steps(
        "steps: [{label: sft, job: sft, config: {training: "
        "{save_total_limit: null, max_length: null, save_minutes: null}}}]"
    )["sft"]["training"]
    assert [training[key] for key in ("save_total_limit", "max_length", "save_minutes")] == [None] * 3
    assert training["max_steps"] == 4


def test_null_means_the_same_in_shared_in_a_step_in_a_matrix_and_with_set(steps):
    """One rule for every place that a value can come from."""
    in_shared = steps(
        "steps: [{label: sft, job: sft}]",
        shared=SHARED.replace("save_total_limit: 3", "save_total_limit: null"),
    )
    in_matrix = steps("steps: [{label: sft, job: sft, matrix: {training.save_total_limit: [null, 2]}}]")
    by_set = steps("steps: [{label: sft, job: sft}]", "--set", "training.save_total_limit=null")
    assert in_shared["sft"]["training"]["save_total_limit"] is None
    assert [one["training"]["save_total_limit"] for one in in_matrix.values()] == [None, 2]
    assert by_set["sft"]["training"]["save_total_limit"] is None


def test_null_replaces_a_whole_section_and_a_database(steps):
    """`peft: null` trains all weights; `telemetry.db_url: null` records in no database."""
    sft = steps("steps: [{label: sft, job: sft, config: {peft: null, telemetry: {db_url: null}}}]")["sft"]
    assert (sft["peft"], sft["telemetry"]["db_url"]) == (None, None)
    other = steps("steps: [{label: sft, job: sft}]")["sft"]
    assert other["peft"] == {"r": 4}
    assert other["telemetry"]["db_url"] is not None


def test_default_takes_a_key_of_shared_away(steps):
    """A key, a whole section, and a value of --set."""
    step = 'steps: [{label: sft, job: sft, config: {training: {save_total_limit: "${default}"}, peft: "${default}"}}]'
    sft = steps(step)["sft"]
    assert (sft["training"]["save_total_limit"], sft["training"]["max_steps"], sft["peft"]) == (2, 4, None)
    by_set = steps("steps: [{label: sft, job: sft}]", "--set", "training.save_total_limit=${default}")
    assert by_set["sft"]["training"]["save_total_limit"] == 2


def test_default_takes_a_key_away_in_a_configuration_too():
    """Wherever a configuration is checked: the default holds."""
    config = parse_config(
        {"model": {"name": "m"}, "training": {"max_length": "${default}"}, "peft": "${default}"}
    )
    assert (config.training.max_length, config.peft) == (1024, None)


def test_null_that_a_key_cannot_take_is_told(tmp_path, monkeypatch, capsys):
    """No default in its place: the message says what is expected."""
    monkeypatch.chdir(tmp_path)
    Path("experiment.yaml").write_text(
        SHARED + "steps: [{label: sft, job: sft, config: {training: {batch_size: null}, generation: null}}]"
    )
    assert main(["run", "experiment.yaml", "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "training.batch_size: expected a whole number, not nothing" in said
    assert "generation: expected a mapping, not nothing" in said
