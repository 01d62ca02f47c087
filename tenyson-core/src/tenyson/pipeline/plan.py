"""A plan: what a preset or a single job comes to, resolved and checked before anything starts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenyson.errors import ConfigError, Problem
from tenyson.pipeline.handover import expected_kind, start_from
from tenyson.pipeline.step import with_values
from tenyson.tasks.preset import JobType, Preset, PresetStep


@dataclass(frozen=True)
class PlannedStep:
    """One job with its resolved configuration."""

    label: str
    job: JobType
    config: Mapping[str, Any]
    """All defaults filled in. Where `model_from` is set, the model is the one that step is expected to leave."""
    model_from: str | None = None

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

    @property
    def directory(self) -> Path:
        """Where the pipeline's own files go, the report first of all."""
        return self.output_dir / self.id


def new_pipeline_id(title: str) -> str:
    """A name such as wordle-tiny-20261123-154500-1a2b: by title and UTC time, unique by its end."""
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in title)
    return f"{safe}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def plan_preset(
    preset: Preset,
    task: Mapping[str, Any],
    *,
    pipeline_id: str,
    title: str,
    output_dir: Path | None = None,
    overrides: Sequence[str] = (),
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plan:
    """Resolve every step of a preset.

    Args:
        task: the configuration's `task` section; its `args` go before those of the preset.
        overrides: "key=value" for every step.
        defaults: values by section and key for what the preset leaves open.

    Raises:
        ConfigError: problems of all steps at once; each names the preset and the step.
    """
    from tenyson.config.load import parse_config

    if any(override.split("=")[0].strip() == "run.id" for override in overrides):
        raise ConfigError("run.id cannot be set for all steps alike", next_step="Use --run-id.")
    resolved: dict[str, PlannedStep] = {}
    problems: list[Problem] = []
    seen: set[str] = set()
    for step in preset.steps:
        seen.add(step.label)
        config = _complete(step, task, pipeline_id, output_dir, defaults or {})
        if step.model_from is not None:
            if step.model_from not in resolved:
                # A source that is wrong itself has been told; one that never came before has not.
                if step.model_from not in seen:
                    problems.append(
                        Problem(f"{step.label} starts from {step.model_from!r}, which is no earlier step")
                    )
                continue
            source = resolved[step.model_from]
            config = start_from(config, source.config, source.folder, expected_kind(source.config))
        try:
            parsed = parse_config(config, overrides, f"preset {preset.name}, step {step.label}")
        except ConfigError as error:
            problems += error.problems
            continue
        resolved[step.label] = PlannedStep(
            step.label, step.job, parsed.model_dump(mode="json"), step.model_from
        )
    if problems:
        # An override is wrong for every step in the same words.
        raise ConfigError(list(dict.fromkeys(problems)))
    if not resolved:
        raise ConfigError(f"the preset {preset.name} has no steps")
    steps = tuple(resolved.values())
    return Plan(pipeline_id, title, steps[0].folder.parent, steps)


def _complete(
    step: PresetStep,
    task: Mapping[str, Any],
    pipeline_id: str,
    output_dir: Path | None,
    defaults: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    config = dict(step.config)
    for section, values in defaults.items():
        given = {key: value for key, value in (config.get(section) or {}).items() if value is not None}
        config[section] = {**values, **given}
    own = config.get("task") or {}
    config["task"] = {**own, **task, "args": {**(own.get("args") or {}), **(task.get("args") or {})}}
    config = with_values(config, "run", id=f"{pipeline_id}-{step.label}")
    return config if output_dir is None else with_values(config, "run", output_dir=str(output_dir))
