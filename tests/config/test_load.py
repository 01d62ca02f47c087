"""Loading a configuration: every problem at once, each with its place and what was probably meant."""

from __future__ import annotations

import json

import pytest

from tenyson.config.load import dump_config, load_config, parse_config
from tenyson.errors import ConfigError

MODEL = "model: {name: m}\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="config.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems(call, *args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    return caught.value.problems


def test_yaml_and_json_give_the_same_configuration(write):
    """One schema, two notations; JSON may be indented with tabs."""
    data = {"model": {"name": "m"}, "training": {"learning_rate": 1e-4}, "run": {"id": "a"}}
    yaml_file = write("model:\n  name: m\ntraining:\n  learning_rate: 1e-4\nrun:\n  id: a\n")
    json_file = write(json.dumps(data, indent="\t"), "config.json")
    assert load_config(yaml_file) == load_config(json_file) == parse_config(data)


def test_all_problems_come_at_once_with_file_line_and_key(write):
    """Nobody should fix one mistake to be told of the next."""
    path = write(MODEL + "training:\n  learning_rat: 1\n  batch_size: 0\nrun:\n  seed: 1.5\ngeneraton: {}\n")
    found = problems(load_config, path)
    assert [(problem.line, problem.key) for problem in found] == [
        (3, "training.learning_rat"),
        (4, "training.batch_size"),
        (6, "run.seed"),
        (7, "generaton"),
    ]
    assert {problem.file for problem in found} == {str(path)}
    assert (
        str(found[0])
        == f"{path}:3: training.learning_rat: unknown key (did you mean training.learning_rate?)"
    )


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("training: {learning_rat: 1}", "training.learning_rate"),
        ("learning_rate: 1", "training.learning_rate"),
        ("training: {temperature: 1}", "generation.temperature"),
        ("training: {lr: 1}", "training.learning_rate"),
        ("training: {num_train_epochs: 1}", "training.epochs"),
        ("training: {per_device_train_batch_size: 1}", "training.batch_size"),
        ("training: {Max-Steps: 1}", "training.max_steps"),
        ("lora: {r: 8}", "peft"),
        ("trianing: {max_steps: 1}", "training"),
        ("hub: {token: x}", "hub.token_env"),
    ],
)
def test_an_unknown_key_gets_the_nearest_valid_one_even_of_another_section(write, text, meant):
    """Names of other tools count as well."""
    (problem,) = problems(load_config, write(MODEL + text))
    assert problem.suggestion == f"did you mean {meant}?"


def test_a_number_with_an_exponent_is_a_number_everywhere(write):
    """PyYAML alone reads 1e-4 as text, which would reach TRL as such."""
    config = load_config(
        write(MODEL + "training: {learning_rate: 1e-4}\ntrl: {adam_epsilon: 1e-6, a: 5E+3}\n")
    )
    assert config.training.learning_rate == 1e-4
    assert config.trl == {"adam_epsilon": 1e-6, "a": 5000.0}


def test_no_where_text_is_expected_says_to_quote_it(write):
    """YAML 1.1 reads no, on and yes as booleans."""
    (problem,) = problems(load_config, write(MODEL + "training: {lr_scheduler: no}"))
    assert problem.cause.startswith("expected text, not the boolean false")
    assert problem.suggestion == 'put it in quotes: "no"'


def test_dates_clock_times_and_leading_zeros_are_text(write):
    """A run id such as 2025-01-01 must not become a date, nor 0123 an octal number."""
    config = load_config(write(MODEL + "run: {id: 2025-01-01}\ntask: {args: {a: 12:30:45, b: 0123}}"))
    assert config.run.id == "2025-01-01"
    assert config.task.args == {"a": "12:30:45", "b": "0123"}


def test_merge_keys_and_anchors_work(write):
    """YAML's own way to share values."""
    text = "model: &m {name: m, dtype: float32}\ntask: {args: {<<: *m, dtype: auto}}\n"
    assert load_config(write(text)).task.args == {"name": "m", "dtype": "auto"}


def test_a_duplicate_key_is_refused_with_both_lines(write):
    """The last one would win in silence."""
    (problem,) = problems(load_config, write(MODEL + "training:\n  epochs: 1\n  epochs: 2\n"))
    assert (problem.line, problem.key, problem.cause) == (
        4,
        "training.epochs",
        "is given twice, first in line 3",
    )


BOMB = "model: {name: m}\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("- a\n- b", "expected a mapping of sections, not a list"),
        ("just text", "expected a mapping of sections, not a single value"),
        ("model: {name: m", "not valid YAML"),
        ("model:\n\tname: m", "indent with spaces"),
        ("a: 1\n---\nb: 2\n", "several YAML documents"),
        ("model: *nowhere", "undefined alias"),
        (BOMB, "once its aliases are written out"),
        ("a: &a [*a]", "refers to a value that contains it"),
        ("[" * 100_000, "nested deeper than 50 levels"),
        ("\n".join(" " * depth + "a:" for depth in range(400)), "nested deeper than 50 levels"),
        ("a: [" + "1," * 200_000 + "]", "holds more than 50000 values"),
        (b"\x7fELF\0\0\0", "is a binary file"),
        (b"model: {name: \xff}", "is not UTF-8 text"),
        (b"model: \x07", "not valid YAML"),
        ("model: !!python/object/apply:os.system ['true']", "is not allowed"),
    ],
    ids=lambda value: None if isinstance(value, str | bytes) and len(value) > 60 else str(value)[:30],
)
def test_a_file_that_is_no_configuration_gets_one_clear_line(write, content, expected):
    """Refused before it is expanded, whatever it is."""
    path = write(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert expected in str(caught.value)
    assert all("\n" not in str(problem) for problem in caught.value.problems)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"model": ', "not valid JSON"),
        ('{"model": {"name": "m"}, "training": {"beta": NaN}}', "must be a finite number, not NaN"),
        (
            '{"model": {"name": "m"}, "task": {"args": {"a": -Infinity}}}',
            "must be a finite number, not -Infinity",
        ),
        ('{"model": {"name": "m"}, "model": {"name": "n"}}', "is given twice"),
        ("[" * 100_000, "nested deeper than"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper than"),
        ("[]", "not a list"),
    ],
    ids=range(7),
)
def test_json_has_the_same_bounds(write, content, expected):
    """As YAML."""
    with pytest.raises(ConfigError, match=expected):
        load_config(write(content, "config.json"))


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e999"])
@pytest.mark.parametrize(
    "key", ["training: {learning_rate: %s}", "trl: {learning_rate: %s}", "task: {args: {x: [%s]}}"]
)
def test_numbers_must_be_finite_everywhere(write, key, value):
    """NaN and infinity are refused even where values are passed through."""
    (problem,) = problems(load_config, write(MODEL + key % value))
    assert "must be a finite number" in problem.cause
    assert problem.line == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training: [1]", "training: expected a mapping, not a list"),
        ("training: {max_steps: soon}", "training.max_steps: expected a whole number, not the text 'soon'"),
        ("training: {epochs: [1]}", "training.epochs: expected a number, not a list"),
        ("training: {packing: maybe}", "training.packing: expected true or false, not the text 'maybe'"),
        ("training: {batch_size: 0}", "training.batch_size: must be greater than 0, not the number 0"),
        ("model: {name: m, dtype: bfloat}", "(did you mean bfloat16?)"),
        ("run: {id: a/b}", "run.id: expected text of the form"),
        ("wandb: {tags: x}", "wandb.tags: expected a list, not the text 'x'"),
    ],
)
def test_a_wrong_type_says_what_is_expected_and_what_was_found(write, text, expected):
    """In words, without pydantic's."""
    base = "" if text.startswith("model") else MODEL
    assert expected in "\n".join(map(str, problems(load_config, write(base + text))))


def test_a_model_is_required():
    """By name or by factory, not both."""
    (problem,) = problems(parse_config, {})
    assert str(problem) == "<dict>: model: is missing (give model.name or model.factory)"
    (problem,) = problems(parse_config, {"model": {"name": "m", "factory": "a:b"}})
    assert problem.cause == "give either model.name or model.factory"


@pytest.mark.parametrize(
    "secret", ["hf_AbCdEfGhIjKl", "AKIAIOSFODNN7EXAMPLE", "0123456789abcdef0123456789abcdef01234567"]
)
@pytest.mark.parametrize("key", ["hub: {token_env: '%s'}", "wandb: {api_key_env: '%s'}"])
def test_a_secret_given_as_a_variables_name_is_refused_and_not_repeated(write, key, secret):
    """Names of variables are stored, never values."""
    with pytest.raises(ConfigError, match="NAME of an environment variable") as caught:
        load_config(write(MODEL + key % secret))
    assert secret not in str(caught.value)


def test_a_password_in_the_database_url_is_refused_and_not_repeated(write):
    """The configuration is written beside every result."""
    with pytest.raises(ConfigError, match="PGPASSWORD") as caught:
        load_config(write(MODEL + "telemetry: {db_url: 'postgresql://me:hunter2@db/x'}"))
    assert "hunter2" not in str(caught.value)
    assert load_config(write(MODEL + "telemetry: {db_url: 'postgresql://me@db/x'}")).telemetry.db_url


@pytest.mark.parametrize(
    "data",
    [
        {
            "model": {"name": "m"},
            "task": {"args": {"text": "1e-4", "zeros": "007", "off": "no", "date": "2025-01-01"}},
        },
        {
            "model": {"name": "m"},
            "trl": {"tiny": 1e-7, "huge": 1e300, "whole": 3.0, "text": "a: b\n# c\n\tü"},
        },
        {"model": {"factory": "a.b:c", "factory_args": {"x": [1, None, True, {"y": "~"}]}}, "peft": {}},
        {
            "model": {"name": "m"},
            "run": {"id": "123"},
            "task": {"args": {"a": "12:30", "b": ".5", "c": "0x1f", "d": ""}},
        },
    ],
    ids=range(4),
)
def test_a_dumped_configuration_loads_back_equal(write, data):
    """It is what the runner on another machine reads."""
    config = parse_config(data)
    assert load_config(write(dump_config(config))) == config
    assert load_config(write(json.dumps(config.model_dump(mode="json")), "config.json")) == config


def test_data_from_memory_has_the_same_bounds():
    """`job = SFTJob(config=cfg)` takes whatever yaml.safe_load gave."""
    loop: dict = {"model": {"name": "m"}}
    loop["task"] = {"args": loop}
    assert "nested deeper" in problems(parse_config, loop)[0].cause
    assert "not a list" in problems(parse_config, [1])[0].cause
    assert "a key must be text" in problems(parse_config, {"model": {"name": "m"}, "trl": {1: 2}})[0].cause
    assert (
        "object of type set" in problems(parse_config, {"model": {"name": "m"}, "trl": {"a": {1}}})[0].cause
    )
    assert (
        parse_config({"model": {"name": "m"}, "training": {"learning_rate": "1e-4"}}).training.learning_rate
        == 1e-4
    )


def test_the_mapping_given_is_not_changed():
    """Overrides go into a copy."""
    data = {"model": {"name": "m"}, "training": {"max_steps": 1}}
    assert parse_config(data, ["training.max_steps=2", "peft.r=8"]).training.max_steps == 2
    assert data == {"model": {"name": "m"}, "training": {"max_steps": 1}}
