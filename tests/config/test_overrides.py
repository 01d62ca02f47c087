"""`--set section.key=value`."""

from __future__ import annotations

import pytest

from tenyson.config.load import parse_config
from tenyson.errors import ConfigError

DATA = {"model": {"name": "m"}}


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("training.learning_rate=1e-4", "training", "learning_rate", 1e-4),
        ("training.packing=true", "training", "packing", True),
        ("training.packing=on", "training", "packing", True),
        ("training.max_length=null", "training", "max_length", None),
        ("wandb.tags=[a, b]", "wandb", "tags", ["a", "b"]),
        ("run.id=007", "run", "id", "007"),
        ("run.id=no", "run", "id", "no"),
        ("training.lr_scheduler=off", "training", "lr_scheduler", "off"),
        ("run.id='x'", "run", "id", "x"),
        ("run.id=", "run", "id", None),
        ("model.adapter=repo:main", "model", "adapter", "repo:main"),
        ("telemetry.db_url=sqlite:///x.db?a=b", "telemetry", "db_url", "sqlite:///x.db?a=b"),
        ("task.args={hard: true}", "task", "args", {"hard": True}),
    ],
)
def test_values_are_yaml_and_text_where_text_is_expected(override, section, key, value):
    """A shell eats quotes, so `run.id=no` can only mean the text."""
    assert getattr(getattr(parse_config(DATA, [override]), section), key) == value


def test_verbatim_sections_grow_key_by_key():
    """Even where the section is null."""
    config = parse_config(DATA, ["peft.r=8", "trl.adam_epsilon=1e-6", "backend.settings.region=eu-west-1"])
    assert config.peft == {"r": 8}
    assert config.trl == {"adam_epsilon": 1e-6}
    assert config.backend.settings == {"region": "eu-west-1"}


def test_the_last_override_of_a_key_wins():
    """As on every command line."""
    assert parse_config(DATA, ["run.seed=1", "run.seed=2"]).run.seed == 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "training.learning_rat=1",
            "--set: training.learning_rat: unknown key (did you mean training.learning_rate?)",
        ),
        ("lr=1", "--set: lr: unknown key (did you mean training.learning_rate?)"),
        (
            "training.max_steps=soon",
            "--set: training.max_steps: expected a whole number, not the text 'soon'",
        ),
        ("training.max_steps", "--set: cannot read 'training.max_steps' (write section.key=value)"),
        ("=1", "--set: cannot read '=1' (write section.key=value)"),
        ("task.args={a", "--set: task.args: not valid YAML"),
        ("training.beta=.nan", "--set: training.beta: must be a finite number, not .nan"),
        ("model.name.x=1", "--set: model.name.x: cannot be set: model.name is not a mapping"),
        ("hub.token_env=hf_secret", "--set: hub.token_env: give the NAME of an environment variable"),
    ],
)
def test_a_wrong_override_is_placed_at_set(override, expected):
    """Not in the file, where nobody would find it."""
    with pytest.raises(ConfigError) as caught:
        parse_config(DATA, [override], source="config.yaml")
    assert str(caught.value).startswith(expected)
    assert "hf_secret" not in str(caught.value)


def test_an_override_repairs_what_the_file_has_wrong():
    """Values are checked after overriding."""
    assert parse_config({"model": {"name": "m"}, "run": {"seed": "x"}}, ["run.seed=3"]).run.seed == 3
