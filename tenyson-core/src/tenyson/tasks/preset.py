"""A preset: a named set of configurations that make up a pipeline, read from a YAML file.

An experiment file is the same thing outside of a task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from tenyson.config.explain import did_you_mean
from tenyson.config.unset import UNSET
from tenyson.errors import ConfigError, Problem

if TYPE_CHECKING:
    from tenyson.config.document import Document, KeyPath

JobType = Literal["sft", "rl", "eval"]

SHORTHANDS = {"seed": "run.seed"}
"""Axes of a matrix that stand for a key."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class PresetStep:
    """One job of a preset."""

    label: str
    job: JobType
    config: Mapping[str, Any] = field(default_factory=dict)
    """Complete but for what the step before hands over; `Preset.shared` is already merged in."""
    model_from: str | None = None
    """Label of the step whose trained model or adapter this one starts from."""
    checkpoint_from: str | None = None
    """Label of the step whose newest checkpoint this one goes on from, in a run of its own."""
    needs: tuple[str, ...] | None = None
    """Labels of the steps that must be over before it; None: the one before it in the list."""
    matrix: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Values by axis: the step runs once for each combination. An axis is a dotted key, `seed`, or a name of one's own."""


@dataclass(frozen=True)
class Preset:
    """A named pipeline: a task's own, or that of an experiment file."""

    name: str
    summary: str
    steps: tuple[PresetStep, ...]
    hardware: str = ""
    """What it is meant to run on, in words."""
    matrix: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """As that of a step, for all steps alike: the whole pipeline runs once for each combination."""
    max_parallel: int = 1
    """How many jobs may run at once."""

    @classmethod
    def from_file(cls, path: str | Path) -> Preset:
        """Read a preset from a YAML file.

        The keys are `summary`, `hardware`, `shared` (what all steps have in common), `matrix`, `max_parallel` and `steps`,
        a list of `label`, `job`, `config`, `model_from`, `checkpoint_from`, `needs` and `matrix`; `name` is the file's name
        without its ending, where it is not given.
        A step's `config` is merged over `shared`, section by section. null is a value there as anywhere else; the value
        `${default}` takes a key of `shared` away.

        Raises:
            ConfigError: the file cannot be read or holds something else; all problems at once.
        """
        from tenyson.config.reading import read_document

        path = Path(path)
        document = read_document(path)
        problems = [*document.problems, *_problems(document)]
        if problems:
            raise ConfigError(problems)
        data = document.data
        shared = data.get("shared") or {}
        steps = tuple(
            PresetStep(
                label=step["label"],
                job=step["job"],
                config=merge(shared, step.get("config") or {}),
                model_from=step.get("model_from"),
                checkpoint_from=step.get("checkpoint_from"),
                needs=None if step.get("needs") is None else tuple(step["needs"]),
                matrix=step.get("matrix") or {},
            )
            for step in data["steps"]
        )
        return cls(
            data.get("name", path.stem), data.get("summary", ""), steps, data.get("hardware", ""),
            data.get("matrix") or {}, data.get("max_parallel", 1),
        )  # fmt: skip


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


def _problems(document: Document) -> list[Problem]:
    """All that is wrong with a preset's shape; the configurations are checked by their own schema."""
    data = document.data
    known = ("name", "summary", "hardware", "shared", "steps", "matrix", "max_parallel")
    found = _unknown(document, (), data, known)
    for key in ("name", "summary", "hardware"):
        if not isinstance(data.get(key, ""), str):
            found.append(document.problem((key,), "must be text"))
    if not isinstance(data.get("shared") or {}, Mapping):
        found.append(document.problem(("shared",), "must be a mapping"))
    limit = data.get("max_parallel", 1)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        found.append(document.problem(("max_parallel",), "must be a whole number from 1 on"))
    found += _matrix_problems(document, ("matrix",), data.get("matrix"))
    steps = data.get("steps")
    if not isinstance(steps, list) or not steps:
        return [*found, document.problem(("steps",), "must be a list of at least one step")]
    labels: list[str] = []
    jobs_by_label = {str(step.get("label")): step.get("job") for step in steps if isinstance(step, Mapping)}
    for number, step in enumerate(steps):
        found += _step_problems(document, ("steps", str(number)), step, labels, jobs_by_label)
        labels.append(str(step.get("label")) if isinstance(step, Mapping) else "")
    return found


def _step_problems(
    document: Document, place: KeyPath, step: Any, labels: list[str], jobs_by_label: Mapping[Any, Any]
) -> list[Problem]:
    """What is wrong with one step; `labels` are those of the steps before it."""
    if not isinstance(step, Mapping):
        return [document.problem(place, "must be a mapping with label and job")]
    known = ("label", "job", "config", "model_from", "checkpoint_from", "needs", "matrix")
    found = _unknown(document, place, step, known)
    label, jobs = step.get("label"), get_args(JobType)
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        found.append(document.problem((*place, "label"), "must be text of letters, digits, `_` and `-`"))
    elif label in labels:
        found.append(document.problem((*place, "label"), f"{label!r} is there twice"))
    if step.get("job") not in jobs:
        cause = f"must be one of {', '.join(jobs)}, not {step.get('job')!r}"
        found.append(document.problem((*place, "job"), cause))
    if not isinstance(step.get("config") or {}, Mapping):
        found.append(document.problem((*place, "config"), "must be a mapping"))
    for key in ("model_from", "checkpoint_from"):
        source = step.get(key)
        if source is None:
            continue
        if source not in labels:
            found.append(document.problem((*place, key), f"{source!r} is no earlier step"))
        elif jobs_by_label.get(source) == "eval":
            found.append(
                document.problem((*place, key), f"{source!r} is an evaluation, which trains nothing")
            )
        if key == "checkpoint_from" and step.get("job") == "eval":
            found.append(
                document.problem(
                    (*place, key), "an evaluation does not go on from a checkpoint", "use model_from"
                )
            )
    needs = step.get("needs")
    if needs is not None and not isinstance(needs, list):
        found.append(document.problem((*place, "needs"), "must be a list of labels"))
    for name in needs if isinstance(needs, list) else ():
        if name not in jobs_by_label:
            near = did_you_mean(str(name), list(jobs_by_label))
            found.append(document.problem((*place, "needs"), f"{name!r} is no step", near))
    return found + _matrix_problems(document, (*place, "matrix"), step.get("matrix"))


def _matrix_problems(document: Document, place: KeyPath, matrix: Any) -> list[Problem]:
    if matrix is None:
        return []
    if not isinstance(matrix, Mapping):
        return [document.problem(place, "must be a mapping of axes to lists of values")]
    found = [
        document.problem((*place, str(axis)), "must be a list of at least one value")
        for axis, values in matrix.items()
        if not isinstance(values, list) or not values
    ]
    written = str(document.data)
    for axis in map(str, matrix):
        # Without a dot it is a name of one's own, which does something only where it is referred to.
        if "." not in axis and axis not in SHORTHANDS and f"${{matrix.{axis}}}" not in written:
            cause = "no value refers to this axis, so no step would differ by it"
            found.append(document.problem((*place, axis), cause, _dotted(axis)))
    return found


def _dotted(name: str) -> str:
    """The configuration's keys of that name, where there are any."""
    from tenyson.config.schema import Config

    keys = [
        f"{section}.{name}"
        for section, field in Config.model_fields.items()
        if name in getattr(field.annotation, "model_fields", {})
    ]
    return f"did you mean {' or '.join(keys)}?" if keys else ""


def _unknown(
    document: Document, place: KeyPath, data: Mapping[str, Any], known: tuple[str, ...]
) -> list[Problem]:
    return [
        document.problem((*place, str(key)), "unknown key", did_you_mean(str(key), known))
        for key in data
        if key not in known
    ]
