"""What people write and mean is accepted: a learning rate of 0, sinks beside the default ones, `~` and `$HOME` in paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenyson.cli.main import main
from tenyson.config.checks.sinks import sink_names
from tenyson.config.load import parse_config
from tenyson.errors import ConfigError

MODEL = {"model": {"name": "m"}}
TASK = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")


def test_a_learning_rate_of_zero_is_a_control():
    """It trains nothing on purpose; less than zero is still a mistake."""
    assert parse_config(MODEL, ["training.learning_rate=0"]).training.learning_rate == 0
    with pytest.raises(ConfigError, match=r"training\.learning_rate: must be at least 0"):
        parse_config(MODEL, ["training.learning_rate=-1e-9"])


def test_sinks_with_a_plus_are_added_to_the_default_ones():
    """Whatever those are for this configuration; without a plus the list is the whole truth."""
    added = parse_config(MODEL | {"telemetry": {"sinks": ["+csv", "+jsonl"], "db_url": "sqlite:///x.db"}})
    assert sink_names(added) == ["console", "jsonl", "sql", "csv"]
    assert sink_names(parse_config(MODEL | {"telemetry": {"sinks": ["csv"]}})) == ["csv"]
    with pytest.raises(ConfigError, match=r"telemetry\.sinks: write \+ before all names"):
        parse_config(MODEL | {"telemetry": {"sinks": ["+csv", "sql"]}})


def test_a_sink_with_a_plus_is_looked_up_by_its_name(tmp_path, monkeypatch, capsys):
    """Before anything starts, with the nearest name."""
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("model: {name: m}\ntelemetry:\n  sinks: [+jsonll]\n")
    assert main(["config", "check", "c.yaml"]) == 2
    assert (
        "c.yaml:3: telemetry.sinks: there is no sink named 'jsonll' (Did you mean 'jsonl'?)"
        in capsys.readouterr().err
    )


def test_home_and_variables_are_filled_in_where_a_path_is_expected(tmp_path, monkeypatch):
    """In every key that holds a path, and in the URL of a SQLite file; a Hub name stays what it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCRATCH", "/scratch")
    config = parse_config(
        {
            "model": {"name": "org/name", "adapter": "${SCRATCH}/adapter"},
            "run": {"output_dir": "~/runs"},
            "task": {"module": "$HOME/task.py"},
            "training": {"resume_from_checkpoint": "$SCRATCH/run/checkpoints/step-1"},
            "telemetry": {"db_url": "sqlite:///~/t.db"},
            "wandb": {"tags": ["~ $HOME"]},
        }
    )
    assert (config.model.name, config.model.adapter) == ("org/name", "/scratch/adapter")
    assert (config.run.output_dir, config.task.module) == (f"{tmp_path}/runs", f"{tmp_path}/task.py")
    assert config.training.resume_from_checkpoint == "/scratch/run/checkpoints/step-1"
    assert config.telemetry.db_url == f"sqlite:///{tmp_path}/t.db"
    assert config.wandb.tags == ["~ $HOME"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("$NOBODY_SET_THIS/x", "the environment variable NOBODY_SET_THIS is not set"),
        ("~nobody-here/x", "home of no user"),
    ],
)
def test_a_variable_that_is_not_set_is_told(path, says):
    """A folder called $NAME would be a surprise."""
    with pytest.raises(ConfigError, match=r"run\.output_dir: .*") as caught:
        parse_config(MODEL | {"run": {"output_dir": path}})
    assert says in str(caught.value)


def test_paths_of_the_command_line_are_filled_in_as_well(tmp_path, monkeypatch, capsys):
    """A shell leaves `--config=~/c.yaml` as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "c.yaml").write_text("model: {name: m}\n")
    words = [f"--task={TASK}", "--config=~/home/c.yaml", "--output-dir=$HOME/runs", "--dry-run", "--json"]
    assert main(["run", "--job", "sft", *words]) == 0
    [step] = json.loads(capsys.readouterr().out)["steps"]
    assert step["config"]["run"]["output_dir"] == f"{tmp_path}/runs"
