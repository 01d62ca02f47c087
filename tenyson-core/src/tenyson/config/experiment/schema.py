"""The shape of an experiment file, as pydantic checks it and as editors complete it.

The values of `shared` and of a step's `config` are those of a configuration, whose own schema checks them once they are
merged. How steps refer to each other is `tenyson.config.experiment.links`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from tenyson.config.document import describe
from tenyson.config.experiment.lists import some
from tenyson.config.experiment.sweep import axis_values
from tenyson.config.explain import did_you_mean, explained
from tenyson.config.section import Section

LABEL = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


def _label(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(LABEL.rstrip("$"), value):
        return value
    raise explained(f"must be text of letters, digits, `_` and `-`, not {describe(value)}")


def _job(value: Any, info: ValidationInfo) -> Any:
    kinds = (info.context or {})["kinds"]
    if isinstance(value, str) and value in kinds:
        return value
    near = did_you_mean(value, kinds) if isinstance(value, str) else ""
    raise explained(f"must be one of {', '.join(kinds)}, not {value!r:.60}", near)


def _step_name(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    raise explained(f"must be the label of a step, not {describe(value)}")


def _step_names(value: Any) -> Any:
    if value is None:
        return value
    if not isinstance(value, list):
        raise explained(f"must be a list of labels, not {describe(value)}")
    if wrong := [describe(one) for one in value if not isinstance(one, str)]:
        raise explained(f"must be the label of a step, not {' or '.join(dict.fromkeys(wrong))}")
    return value


def _limit(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise explained(f"must be a whole number from 1 on, not {describe(value)}")


StepName = Annotated[str | None, BeforeValidator(_step_name)]
Values = Annotated[list[Any], BeforeValidator(axis_values), Field(min_length=1)]
Matrix = dict[str, Values]
"""Lists of values by axis."""


class StepEntry(Section):
    """One step: a job, what it starts from, and what it waits for."""

    label: Annotated[str, BeforeValidator(_label)] = Field(pattern=LABEL, examples=["sft"])
    """Name of the step, by which other steps, `tenyson decide` and the report refer to it."""
    job: Annotated[str, BeforeValidator(_job)]
    """Kind of job."""
    config: dict[str, Any] | None = Field(default=None, examples=[{"training": {"max_steps": 100}}])
    """A configuration, merged over `shared` section by section."""
    model_from: StepName = Field(default=None, examples=["sft"])
    """Label of an earlier step. This one starts from the model or adapter that it trained."""
    checkpoint_from: StepName = Field(default=None, examples=["sft"])
    """Label of an earlier step. This one continues its training from its latest checkpoint, as a run of its own."""
    needs: Annotated[list[str] | None, BeforeValidator(_step_names)] = Field(
        default=None, examples=[["before"], []]
    )
    """Labels of the steps that must be over before this one starts. Default: the one above; `[]` waits for none."""
    matrix: Matrix | None = Field(default=None, examples=[{"training.learning_rate": [1e-4, 3e-4]}])
    """The step runs once for each combination of these values."""


class ExperimentFile(Section):
    """An experiment: a pipeline of jobs, with what their configurations share."""

    name: str = Field(default="", examples=["learning-rates"])
    """Name of the pipeline. Default: the file's name without its ending."""
    summary: str = Field(default="", examples=["SFT at two learning rates, three seeds each"])
    """What it does, in one line."""
    hardware: str = Field(default="", examples=["one GPU with 24 GB"])
    """What it is meant to run on, in words."""
    max_parallel: Annotated[int, BeforeValidator(_limit)] = Field(default=1, ge=1, examples=[2])
    """How many jobs may run at once."""
    matrix: Matrix | None = Field(default=None, examples=[{"seed": [0, 1, 2]}])
    """The whole pipeline runs once for each combination of these values."""
    shared: dict[str, Any] | None = Field(default=None, examples=[{"model": {"name": "Qwen/Qwen3-0.6B"}}])
    """A configuration that all steps have in common."""
    steps: Annotated[list[StepEntry], BeforeValidator(some("step"))] = Field(
        min_length=1,
        examples=[[{"label": "sft", "job": "sft"}, {"label": "eval", "job": "eval", "model_from": "sft"}]],
    )
    """The jobs, in order. A step follows the one above it unless it has `needs`."""
