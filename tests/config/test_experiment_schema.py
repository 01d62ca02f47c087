"""`tenyson config schema --experiment`: what Tenyson takes, an editor takes, and what the schema refuses is refused."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from tenyson.cli.main import main
from tenyson.config.experiment.check import check_experiment
from tenyson.config.experiment.json_schema import configuration_schema, experiment_schema
from tenyson.config.experiment.names import is_experiment
from tenyson.config.reading import read_document
from tenyson.config.yamltext import Loader
from tenyson.errors import TenysonError
from tenyson.pipeline.graph.plan import plan_preset
from tenyson.plugins.job_kinds import JOB_KINDS
from tenyson.tasks.preset import Preset

ROOT = Path(__file__).parents[2]
SCHEMA = experiment_schema(JOB_KINDS)
PRESETS = sorted(ROOT.glob("tenyson-*/src/**/presets/*.yaml"))
FENCE = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def complaints(text):
    """What an editor would underline."""
    data = yaml.load(text, Loader)
    return [
        f"{'.'.join(map(str, error.path))}: {error.message:.200}"
        for error in Draft202012Validator(SCHEMA).iter_errors(data)
    ]


def examples_of_docs():
    """Every fenced experiment of the documentation."""
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tenyson-*/*.md")]):
        for number, text in enumerate(FENCE.findall(page.read_text(encoding="utf-8"))):
            if re.search(r"^steps:", text, re.MULTILINE):
                yield pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")


def texts_of_tests():
    """Every plain text of the tests that holds steps: whole files, and parts that go under a head of their own."""
    for file in sorted(ROOT.glob("tests/**/*.py")):
        source = file.read_text(encoding="utf-8")
        if not re.search(r"\bsteps:", source):  # parsing all files takes seconds
            continue
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and re.search(r"^\s*steps:", node.value, re.M)
            ):
                yield pytest.param(node.value, id=f"{file.relative_to(ROOT / 'tests')}:{node.lineno}")


HEAD = 'shared: {model: {factory: "m:f"}, training: {max_steps: 4}}\n'


def plan(text, folder):
    """What `tenyson run` makes of an experiment file before it starts anything. Raises: TenysonError."""
    path = folder / "experiment.yaml"
    path.write_text(text if "shared:" in text else HEAD + text)
    return plan_preset(Preset.from_file(path), {}, pipeline_id="p", title="p")


def test_both_schemas_are_sound_and_describe_every_key(capsys):
    """Valid JSON Schema, closed, with descriptions; an experiment's keys have examples, its enumerations their values."""
    assert main(["config", "schema", "--experiment"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
    for schema in (SCHEMA, configuration_schema()):
        Draft202012Validator.check_schema(schema)
        assert schema["additionalProperties"] is False
    definitions = SCHEMA["$defs"]
    for name in set(definitions) - {"Reference", "Matrix", "PartOfConfig"}:
        assert definitions[name]["additionalProperties"] is False
        for key in definitions[name]["properties"].values():
            assert "description" in key
    for key in (*SCHEMA["properties"].values(), *definitions["StepEntry"]["properties"].values()):
        assert "examples" in key or "enum" in key
    assert definitions["StepEntry"]["properties"]["job"]["enum"] == list(JOB_KINDS)
    assert (
        definitions["Matrix"]["properties"]["training.learning_rate"]["description"] == "Peak learning rate."
    )


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_of_the_wheels_fit_the_schema(path):
    """An editor underlines nothing in them."""
    assert len(PRESETS) >= 4
    assert complaints(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", list(examples_of_docs()))
def test_experiments_of_the_documentation_fit_the_schema(text):
    """A reader who pastes one into an editor with the schema sees no error."""
    assert complaints(text) == []


@pytest.mark.parametrize("text", list(texts_of_tests()))
def test_what_tenyson_takes_the_schema_takes(tmp_path, text):
    """Each experiment of the tests: where a plan can be made of it, the schema has nothing against it."""
    try:
        plan(text, tmp_path)
    except TenysonError:
        pass
    else:
        assert complaints(text) == []


def test_the_tests_hold_enough_experiments_to_compare(tmp_path):
    """At least 15 that Tenyson takes, so that the comparison above is one."""
    taken = 0
    for case in texts_of_tests():
        try:
            plan(case.values[0], tmp_path)
            taken += 1
        except TenysonError:
            pass
    assert taken >= 15


WRONG = {
    "a key of the file": "sumary: x\nsteps: [{label: a, job: sft}]",
    "no steps": "name: x",
    "an empty list of steps": "steps: []",
    "a key of a step": "steps: [{label: a, jobs: sft, job: sft}]",
    "a kind of job": "steps: [{label: a, job: train}]",
    "a label": "steps: [{label: a b, job: sft}]",
    "a step without a label": "steps: [{job: sft}]",
    "a limit": "max_parallel: 0\nsteps: [{label: a, job: sft}]",
    "a number for text": "name: 3\nsteps: [{label: a, job: sft}]",
    "needs": "steps: [{label: a, job: sft, needs: a}]",
    "a label that is a list": "steps: [{label: a, job: sft}, {label: b, job: eval, model_from: [a]}]",
    "an axis": "matrix: {seed: 3}\nsteps: [{label: a, job: sft}]",
    "an axis of no values": "matrix: {training.beta: []}\nsteps: [{label: a, job: sft}]",
    "a value of an axis": "matrix: {training.beta: [much]}\nsteps: [{label: a, job: rl}]",
    "a key of a configuration": "steps: [{label: a, job: sft, config: {training: {max_step: 3}}}]",
    "a section": "shared: {trainin: {}}\nsteps: [{label: a, job: sft}]",
    "a value of a configuration": "steps: [{label: a, job: sft, config: {training: {batch_size: many}}}]",
    "one of a list": "steps: [{label: a, job: rl, config: {training: {pause_on: [truncate]}}}]",
    "text for a section": "steps: [{label: a, job: sft, config: {backend: modal}}]",
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_schema_refuses_tenyson_refuses(tmp_path, case):
    """The same mistakes are underlined while one types and told before anything starts."""
    assert complaints(WRONG[case])
    with pytest.raises(TenysonError):
        plan(WRONG[case], tmp_path)


REFERENCES = """
matrix: {size: [8, 16], sign: [truncated], seed: [0, 1]}
shared: {model: {factory: "m:f"}}
steps:
  - label: sft
    job: sft
    config:
      run: {id: "sft-${matrix.size}-${matrix.seed}"}
      training: {batch_size: "${matrix.size}", pause_on: ["${matrix.sign}"], max_length: "${default}"}
      peft: ${default}
      trl: {adam_beta2: 0.95}
  - {label: after, job: eval, config: {training: {learning_rate: "${steps.sft.metrics.best}"}}}
"""


def test_references_fit_wherever_a_value_does(tmp_path):
    """`${matrix.AXIS}`, `${steps.LABEL...}` and `${default}`, in numbers, lists and whole sections; other text does not."""
    plan(REFERENCES, tmp_path)
    assert complaints(REFERENCES) == []
    assert complaints(REFERENCES.replace('${matrix.size}",', '${size}",'))


def problems_of(text, folder):
    (folder / "wrong.yaml").write_text(text)
    document = read_document(folder / "wrong.yaml")
    assert is_experiment(document)
    with pytest.raises(TenysonError) as caught:
        check_experiment(document, JOB_KINDS)
    return [(one.line, one.key, one.cause, one.suggestion) for one in caught.value.problems]


def test_all_problems_of_a_file_are_told_at_once_with_line_key_and_what_was_meant(tmp_path):
    """Of its shape and of how its steps refer to each other alike, in the words that configurations have."""
    text = """\
sumary: x
name: 007
training: {max_steps: 3}
steps:
  - label: a
    job: stf
    lr: 0.1
  - {label: b, job: eval, model_from: c, model: {name: m}}
  - {job: sft, needs: [d], modle_from: a}
"""
    assert problems_of(text, tmp_path) == [
        (1, "sumary", "unknown key", "did you mean summary?"),
        (3, "training", "unknown key", "did you mean shared.training?"),
        (6, "steps.0.job", f"must be one of {', '.join(JOB_KINDS)}, not 'stf'", "did you mean sft?"),
        (7, "steps.0.lr", "unknown key", "did you mean config.training.learning_rate?"),
        (8, "steps.1.model", "unknown key", "did you mean config.model?"),
        (8, "steps.1.model_from", "'c' is no earlier step", ""),
        (9, "steps.2.label", "is missing", ""),
        (9, "steps.2.modle_from", "unknown key", "did you mean model_from?"),
        (9, "steps.2.needs", "'d' is no step", ""),
    ]


def test_a_number_where_text_is_meant_says_how_to_write_it(tmp_path):
    """As in configurations."""
    [told] = problems_of("name: 2024\nsteps: [{label: a, job: sft}]", tmp_path)
    assert told[2:] == (
        "expected text, not the number 2024: YAML reads a plain 2024 like that",
        'put it in quotes: "2024"',
    )
