"""Arguments of TRL, PEFT and the engine, verbatim: a wrong one is an error before training starts."""

from __future__ import annotations

import pytest

from tenyson.config.checks.passthrough import OWNED, check_passthrough, passthrough_problems
from tenyson.config.load import check_document, parse_config
from tenyson.config.reading import read_document
from tenyson.errors import ConfigError
from tenyson.plugins.job_kinds import job_kind

pytestmark = pytest.mark.train


def config(**sections):
    return parse_config({"model": {"name": "m"}, **sections})


@pytest.mark.parametrize(
    ("job", "sections", "expected"),
    [
        (
            "sft",
            {"trl": {"adam_epsilom": 1e-6}},
            "trl.adam_epsilom: no argument of trl (did you mean trl.adam_epsilon?)",
        ),
        (
            "rl",
            {"trl": {"loss_typ": "grpo"}},
            "trl.loss_typ: no argument of trl (did you mean trl.loss_type?)",
        ),
        (
            "sft",
            {"peft": {"lora_alfa": 16}},
            "peft.lora_alfa: no argument of peft (did you mean peft.lora_alpha?)",
        ),
        (
            "eval",
            {"engine_args": {"repetition_penality": 1.1}, "generation": {"engine": "transformers"}},
            "engine_args.repetition_penality: no argument of transformers (did you mean engine_args.repetition_penalty?)",
        ),
        (
            "sft",
            {"trl": {"output_dir": "x"}},
            "trl.output_dir: is set by Tenyson itself (use run.output_dir)",
        ),
        ("rl", {"trl": {"seed": 1}}, "trl.seed: is set by Tenyson itself (use run.seed)"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(job, sections, expected):
    """Against the installed versions of the libraries themselves."""
    with pytest.raises(ConfigError) as caught:
        check_passthrough(config(**sections), job_kind(job))
    assert str(caught.value) == expected


def test_valid_names_pass():
    """Any argument, though Tenyson has no key for it."""
    check_passthrough(config(trl={"adam_epsilon": 1e-6, "loss_type": "dft"}, peft={"r": 8}), job_kind("sft"))
    check_passthrough(config(trl={"loss_type": "dapo", "epsilon_high": 0.3}), job_kind("rl"))
    check_passthrough(config(engine_args={"repetition_penalty": 1.1}), job_kind("rl"))


def test_sections_that_the_job_does_not_read_are_left_alone():
    """Presets share sections between steps."""
    check_passthrough(config(trl={"nonsense": 1}, peft={"nonsense": 1}), job_kind("eval"))
    check_passthrough(config(engine_args={"nonsense": 1}), job_kind("sft"))


def test_problems_carry_the_line(tmp_path):
    """For `config check --job`."""
    path = tmp_path / "config.yaml"
    path.write_text("model: {name: m}\ntrl:\n  adam_epsilom: 1\n")
    document = read_document(path)
    (problem,) = passthrough_problems(check_document(document), job_kind("sft"), document)
    assert (problem.file, problem.line) == (str(path), 3)


def test_the_arguments_that_tenyson_owns_exist():
    """A name that TRL drops would be dead weight here."""
    import dataclasses

    from trl import GRPOConfig, SFTConfig

    names = {field.name for cls in (SFTConfig, GRPOConfig) for field in dataclasses.fields(cls)}
    assert set(OWNED["trl"]) <= names
    for section in OWNED.values():
        for key in section.values():
            name, _, leaf = key.partition(".")
            assert hasattr(getattr(config(), name), leaf), key
