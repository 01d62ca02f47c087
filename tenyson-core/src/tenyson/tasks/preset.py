"""A preset: a named set of configurations that make up a task's default pipeline, read from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from tenyson.config.explain import did_you_mean
from tenyson.errors import ConfigError, Problem

if TYPE_CHECKING:
    from tenyson.config.document import Document, KeyPath

JobType = Literal["sft", "rl", "eval"]


@dataclass(frozen=True)
class PresetStep:
    """One job of a preset."""

    label: str
    job: JobType
    config: Mapping[str, Any] = field(default_factory=dict)
    """Complete but for what the step before hands over; `Preset.shared` is already merged in."""
    model_from: str | None = None
    """Label of the step whose trained model or adapter this one starts from."""


@dataclass(frozen=True)
class Preset:
    """A named default pipeline of a task."""

    name: str
    summary: str
    steps: tuple[PresetStep, ...]
    needs: str = ""
    """What hardware it is meant for, in words."""

    @classmethod
    def from_file(cls, path: str | Path) -> Preset:
        """Read a preset from a YAML file.

        The keys are `summary`, `needs`, `shared` (what all steps have in common) and `steps`, a list of `label`,
        `job`, `config` and `model_from`; `name` is the file's name without its ending, where it is not given.
        A step's `config` is merged over `shared`, section by section; a value of null in a step takes it away.

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
            )
            for step in data["steps"]
        )
        return cls(data.get("name", path.stem), data.get("summary", ""), steps, data.get("needs", ""))


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, mapping by mapping; None takes a value away. Neither is changed."""
    merged = dict(below)
    for key, value in above.items():
        if value is None:
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
    found = _unknown(document, (), data, ("name", "summary", "needs", "shared", "steps"))
    for key in ("name", "summary", "needs"):
        if not isinstance(data.get(key, ""), str):
            found.append(document.problem((key,), "must be text"))
    if not isinstance(data.get("shared") or {}, Mapping):
        found.append(document.problem(("shared",), "must be a mapping"))
    steps = data.get("steps")
    if not isinstance(steps, list) or not steps:
        return [*found, document.problem(("steps",), "must be a list of at least one step")]
    labels: list[str] = []
    for number, step in enumerate(steps):
        found += _step_problems(document, ("steps", str(number)), step, labels)
        labels.append(str(step.get("label")) if isinstance(step, Mapping) else "")
    return found


def _step_problems(document: Document, place: KeyPath, step: Any, labels: list[str]) -> list[Problem]:
    """What is wrong with one step; `labels` are those of the steps before it."""
    if not isinstance(step, Mapping):
        return [document.problem(place, "must be a mapping with label and job")]
    found = _unknown(document, place, step, ("label", "job", "config", "model_from"))
    label, source, jobs = step.get("label"), step.get("model_from"), get_args(JobType)
    if not isinstance(label, str) or not label:
        found.append(document.problem((*place, "label"), "must be text"))
    elif label in labels:
        found.append(document.problem((*place, "label"), f"{label!r} is there twice"))
    if step.get("job") not in jobs:
        cause = f"must be one of {', '.join(jobs)}, not {step.get('job')!r}"
        found.append(document.problem((*place, "job"), cause))
    if not isinstance(step.get("config") or {}, Mapping):
        found.append(document.problem((*place, "config"), "must be a mapping"))
    if source is not None and source not in labels:
        found.append(document.problem((*place, "model_from"), f"{source!r} is no earlier step"))
    return found


def _unknown(
    document: Document, place: KeyPath, data: Mapping[str, Any], known: tuple[str, ...]
) -> list[Problem]:
    return [
        document.problem((*place, str(key)), "unknown key", did_you_mean(str(key), known))
        for key in data
        if key not in known
    ]
