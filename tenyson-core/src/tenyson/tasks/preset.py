"""A preset: a named set of configurations that make up a task's default pipeline, read from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from tenyson.config.explain import did_you_mean
from tenyson.errors import ConfigError, Problem

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
        import yaml

        path = Path(path)
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError([Problem(f"cannot be read: {error.strerror}", file=str(path))]) from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else None
            raise ConfigError([Problem(f"not YAML: {error.problem}", file=str(path), line=line)]) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError([Problem(f"not YAML: {error}", file=str(path))]) from error
        problems = _problems(data)
        if problems:
            raise ConfigError([Problem(cause, key=key, file=str(path)) for key, cause in problems])
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


def _problems(data: Any) -> list[tuple[str, str]]:
    """(key, cause) of all that is wrong with a preset's shape; the configurations are checked by their own schema."""
    if not isinstance(data, Mapping):
        return [("", "a preset is a mapping with the key steps")]
    found = _unknown("", data, ("name", "summary", "needs", "shared", "steps"))
    for key in ("name", "summary", "needs"):
        if not isinstance(data.get(key, ""), str):
            found.append((key, "must be text"))
    if not isinstance(data.get("shared") or {}, Mapping):
        found.append(("shared", "must be a mapping"))
    steps = data.get("steps")
    if not isinstance(steps, list) or not steps:
        return [*found, ("steps", "must be a list of at least one step")]
    labels: list[str] = []
    for number, step in enumerate(steps):
        place = f"steps[{number}]"
        if not isinstance(step, Mapping):
            found.append((place, "must be a mapping with label and job"))
            continue
        found += _unknown(f"{place}.", step, ("label", "job", "config", "model_from"))
        label, source = step.get("label"), step.get("model_from")
        if not isinstance(label, str) or not label:
            found.append((f"{place}.label", "must be text"))
        elif label in labels:
            found.append((f"{place}.label", f"{label!r} is there twice"))
        if step.get("job") not in get_args(JobType):
            found.append(
                (f"{place}.job", f"must be one of {', '.join(get_args(JobType))}, not {step.get('job')!r}")
            )
        if not isinstance(step.get("config") or {}, Mapping):
            found.append((f"{place}.config", "must be a mapping"))
        if source is not None and source not in labels:
            found.append((f"{place}.model_from", f"{source!r} is no earlier step"))
        labels.append(str(label))
    return found


def _unknown(prefix: str, data: Mapping[str, Any], known: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for key in data:
        if key not in known:
            near = did_you_mean(str(key), known)
            found.append((f"{prefix}{key}", f"unknown key ({near})" if near else "unknown key"))
    return found
