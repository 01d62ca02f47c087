"""A plan: what a preset, an experiment file or a single job comes to, resolved and checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenyson.errors import ConfigError, Problem
from tenyson.jobs.naming import dated_name
from tenyson.pipeline.handover import expected_kind, start_from
from tenyson.pipeline.matrix import expand
from tenyson.pipeline.references import FIELDS, find_references, step_of, substitute
from tenyson.pipeline.step import with_values
from tenyson.tasks.preset import SHORTHANDS, JobType, Preset, PresetStep


@dataclass(frozen=True)
class PlannedStep:
    """One job with its resolved configuration."""

    label: str
    job: JobType
    config: Mapping[str, Any]
    """All defaults filled in. Where `model_from` is set, the model is the one that step is expected to leave."""
    model_from: str | None = None
    checkpoint_from: str | None = None
    needs: tuple[str, ...] = ()
    """Labels of all steps that must be over before it."""
    late: Mapping[str, Any] = field(default_factory=dict)
    """Values that refer to what earlier steps measure, by dotted key; missing in `config`."""

    @property
    def run_id(self) -> str:
        """Name of the run and of its folder."""
        return str(self.config["run"]["id"])

    @property
    def folder(self) -> Path:
        """The job's folder."""
        return Path(self.config["run"]["output_dir"]) / self.run_id


@dataclass(frozen=True)
class Plan:
    """Steps in order, under one name."""

    id: str
    title: str
    output_dir: Path
    steps: tuple[PlannedStep, ...]
    max_parallel: int = 1

    @property
    def directory(self) -> Path:
        """Where the pipeline's own files go, the report first of all."""
        return self.output_dir / self.id


def new_pipeline_id(title: str, output_dir: str | Path = "./outputs") -> str:
    """A name such as wordle-tiny-261123-kd7w: by title and the local date, unique by its end."""
    safe = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in title
    )
    safe = safe.lstrip("._-") or "pipeline"
    return dated_name(safe, output_dir)


def plan_preset(
    preset: Preset,
    task: Mapping[str, Any],
    *,
    pipeline_id: str,
    title: str,
    output_dir: Path | None = None,
    overrides: Sequence[str] = (),
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    source: str = "",
) -> Plan:
    """Resolve every step of a preset.

    Args:
        task: the configuration's `task` section; its `args` go before those of the preset.
        overrides: "key=value" for every step.
        defaults: values by section and key for what the preset leaves open.
        source: what errors call it; `preset NAME` by default.

    Raises:
        ConfigError: problems of all steps at once; each names the preset and the step.
    """
    from tenyson.config.load import parse_config

    if any(override.split("=")[0].strip() == "run.id" for override in overrides):
        raise ConfigError("run.id cannot be set for all steps alike", next_step="Use --run-id.")
    matrices = (preset.matrix, *(step.matrix for step in preset.steps))
    axes = {SHORTHANDS.get(axis, axis) for matrix in matrices for axis in matrix}
    for key in (override.split("=")[0].strip() for override in overrides):
        if key in axes:
            raise ConfigError(
                f"{key} is an axis of the matrix: set for all steps, they would not differ",
                next_step="Leave it out of --set, or change the matrix.",
            )
    source = source or f"preset {preset.name}"
    resolved: dict[str, PlannedStep] = {}
    problems: list[Problem] = []
    written = expand(preset)
    seen: set[str] = set()
    for step in written:
        place = f"{source}, step {step.label}"
        config = _complete(step, task, pipeline_id, output_dir, defaults or {})
        missing = [name for name in (step.model_from, step.checkpoint_from) if name and name not in seen]
        problems += [
            Problem(f"{step.label} starts from {name!r}, which is no earlier step") for name in missing
        ]
        seen.add(step.label)
        # A source that is wrong itself has been told.
        if missing or any(name and name not in resolved for name in (step.model_from, step.checkpoint_from)):
            continue
        if step.model_from is not None:
            model = resolved[step.model_from]
            kind = expected_kind(model.config)
            config = start_from(config, model.config, model.folder / kind, kind)
        config, late, wrong = _references(config, resolved, place)
        problems += wrong
        try:
            parsed = parse_config(config, overrides, place)
        except ConfigError as error:
            problems += error.problems
            continue
        resolved[step.label] = PlannedStep(
            step.label, step.job, parsed.model_dump(mode="json"), step.model_from, step.checkpoint_from,
            tuple(step.needs or ()), late,
        )  # fmt: skip
    if problems:
        # An override is wrong for every step in the same words.
        raise ConfigError(list(dict.fromkeys(problems)))
    if not resolved:
        raise ConfigError(f"{source} has no steps")
    steps = tuple(resolved.values())
    return Plan(pipeline_id, title, steps[0].folder.parent, steps, preset.max_parallel)


def _references(
    config: dict[str, Any], resolved: Mapping[str, PlannedStep], place: str
) -> tuple[dict[str, Any], dict[str, Any], list[Problem]]:
    """Fill in what is known of earlier steps already; set aside, by dotted key, what they will measure."""
    late: dict[str, Any] = {}
    problems: list[Problem] = []

    def known(name: str) -> Any:
        step = resolved[step_of(name) or ""]
        what = name[len(f"steps.{step.label}.") :]
        if what not in ("run_id", "folder"):
            raise KeyError(name)
        return step.run_id if what == "run_id" else str(step.folder)

    for path, name in find_references(config):
        key, label = ".".join(path), step_of(name)
        if label not in resolved:
            problems.append(
                Problem(
                    f"${{{name}}} names no earlier step",
                    key,
                    place,
                    suggestion=f"earlier: {', '.join(resolved) or 'none'}",
                )
            )
            continue
        what = name[len(f"steps.{label}.") :]
        if not what.startswith("metrics.") and what not in FIELDS:
            problems.append(
                Problem(
                    f"${{{name}}}: there is no {what!r}",
                    key,
                    place,
                    suggestion=f"metrics.NAME, {', '.join(FIELDS)}",
                )
            )
    if problems:
        return config, late, problems
    filled: dict[str, Any] = substitute(config, known)
    for path, _ in list(find_references(filled)):
        keys = path[: next((place for place, part in enumerate(path) if part.isdigit()), len(path))]
        value = _take(filled, keys)
        if value is not None:
            late[".".join(keys)] = value
    return filled, late, problems


def _take(data: dict[str, Any], path: Sequence[str]) -> Any:
    """Remove and return the value at a path; None where it was taken before."""
    *above, last = path
    for key in above:
        # Copied on the way: the steps of a preset share what they have in common.
        data[key] = dict(data[key])
        data = data[key]
    return data.pop(last, None)


def _complete(
    step: PresetStep,
    task: Mapping[str, Any],
    pipeline_id: str,
    output_dir: Path | None,
    defaults: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    config = dict(step.config)
    if any(
        not isinstance(config.get(section, {}), Mapping) for section in ("run", "task", "model", *defaults)
    ):
        return config  # the schema says what is wrong with it
    for section, values in defaults.items():
        config[section] = {**values, **config.get(section, {})}
    own = config.get("task", {})
    config["task"] = {**own, **task}
    if isinstance(own.get("args", {}), Mapping):
        config["task"]["args"] = {**own.get("args", {}), **(task.get("args") or {})}
    config = with_values(config, "run", id=f"{pipeline_id}-{step.label}")
    return config if output_dir is None else with_values(config, "run", output_dir=str(output_dir))
