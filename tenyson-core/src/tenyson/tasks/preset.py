"""A preset: a named set of configurations that make up a pipeline, read from a YAML file.

An experiment file is the same thing outside of a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenyson.config.experiment.places import places_of
from tenyson.config.experiment.sweep import SHORTHANDS, Sweep
from tenyson.config.unset import UNSET
from tenyson.plugins.job_kinds import JOB_KINDS

__all__ = ["SHORTHANDS", "Preset", "PresetStep", "merge"]


@dataclass(frozen=True)
class PresetStep:
    """One job of a preset."""

    label: str
    job: str
    """The kind of job, such as sft."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Complete but for what the step before hands over; `Preset.shared` is already merged in."""
    model_from: str | None = None
    """Label of the step whose trained model or adapter this one starts from."""
    checkpoint_from: str | None = None
    """Label of the step whose newest checkpoint this one continues from, as a separate run."""
    needs: tuple[str, ...] | None = None
    """Labels of the steps that must be over before it; None: the one before it in the list."""
    sweep: Sweep = field(default_factory=Sweep)
    """Over which values the step is repeated."""
    places: Mapping[tuple[str, ...], int] = field(default_factory=dict, compare=False, repr=False)
    """Lines of the file on which the keys of `config` stand."""


@dataclass(frozen=True)
class Preset:
    """A named pipeline: a task's own, or that of an experiment file."""

    name: str
    summary: str
    steps: tuple[PresetStep, ...]
    hardware: str = ""
    """What it is meant to run on, in words."""
    sweep: Sweep = field(default_factory=Sweep)
    """As that of a step, for all steps alike: the whole pipeline is repeated."""
    max_parallel: int = 1
    """How many jobs may run at once."""
    file: str = field(default="", compare=False)
    """The file that it was read from, as errors name it."""

    @classmethod
    def from_file(cls, path: str | Path) -> Preset:
        """Read a preset from a YAML file.

        The keys are those of `tenyson.config.experiment.schema.ExperimentFile`; `name` is the file's name without its ending,
        where it is not given.
        A step's `config` is merged over `shared`, section by section. null is a value there as anywhere else; the value
        `${default}` takes a key of `shared` away.

        Raises:
            ConfigError: the file cannot be read or holds something else; all problems at once.
        """
        from tenyson.config.experiment.check import check_experiment
        from tenyson.config.reading import read_document

        path = Path(path)
        document = read_document(path)
        experiment = check_experiment(document, JOB_KINDS)
        steps = tuple(
            PresetStep(
                label=step.label,
                job=step.job,
                config=merge(experiment.shared or {}, step.config or {}),
                model_from=step.model_from,
                checkpoint_from=step.checkpoint_from,
                needs=None if step.needs is None else tuple(step.needs),
                sweep=Sweep.of(step),
                places=places_of(document, number),
            )
            for number, step in enumerate(experiment.steps)
        )
        return cls(
            name=experiment.name if "name" in experiment.model_fields_set else path.stem,
            summary=experiment.summary,
            steps=steps,
            hardware=experiment.hardware,
            sweep=Sweep.of(experiment),
            max_parallel=experiment.max_parallel,
            file=str(path),
        )


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, mapping by mapping; `${default}` takes a key away. Neither is changed."""
    merged = dict(below)
    for key, value in above.items():
        if value == UNSET:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            under = merged.get(key)
            merged[key] = merge(under if isinstance(under, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
