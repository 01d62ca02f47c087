"""A preset: a named set of configurations that make up a task's default pipeline, read from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
