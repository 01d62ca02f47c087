"""Preset.from_file: what the YAML says, and one clear line for each thing wrong with it."""

import pytest

from tenyson.errors import ConfigError
from tenyson.tasks import Preset

GOOD = """
summary: A small one
hardware: nothing
shared:
  model: {factory: "m:f", dtype: float32}
  training: {max_steps: 5}
steps:
  - {label: base, job: eval}
  - label: sft
    job: sft
    config: {training: {learning_rate: 0.1}, model: {dtype: "${default}"}}
  - {label: after, job: eval, model_from: sft}
"""


def test_a_preset_merges_what_its_steps_share(tmp_path):
    """A step's value goes over the shared one; `${default}` takes a shared one away; other steps keep theirs."""
    path = tmp_path / "small.yaml"
    path.write_text(GOOD)
    preset = Preset.from_file(path)
    assert (preset.name, preset.summary, preset.hardware) == ("small", "A small one", "nothing")
    base, sft, after = preset.steps
    assert sft.config == {"model": {"factory": "m:f"}, "training": {"max_steps": 5, "learning_rate": 0.1}}
    assert base.config == {"model": {"factory": "m:f", "dtype": "float32"}, "training": {"max_steps": 5}}
    assert (after.label, after.job, after.model_from) == ("after", "eval", "sft")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- 1", "expected a mapping"),
        ("step: []", "step: unknown key (did you mean steps?)"),
        ("steps: []", "steps: must be a list of at least one step"),
        ("steps: [{label: a, job: train}]", "steps.0.job: must be one of sft, rl, eval, dpo, not 'train'"),
        ("steps: [{label: a, job: sft}, {label: a, job: sft}]", "steps.1.label: 'a' is there twice"),
        ("steps: [{label: a, job: sft, model_from: b}]", "steps.0.model_from: 'b' is no earlier step"),
        ("steps: [{label: a, jobs: sft, job: sft}]", "steps.0.jobs: unknown key (did you mean job?)"),
        ("a: [", ": not valid YAML"),
    ],
)
def test_a_wrong_preset_names_file_and_key(tmp_path, text, says):
    """The error begins with the file."""
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Preset.from_file(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_a_missing_preset_file_is_one_line(tmp_path):
    """No stack trace for a missing file."""
    with pytest.raises(ConfigError, match="no such file"):
        Preset.from_file(tmp_path / "none.yaml")
