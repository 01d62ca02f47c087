"""A plan: what a preset, an experiment file or a single job comes to, resolved and checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.endpoint import asks_endpoint
from tenyson.config.document import Document, from_mapping
from tenyson.config.explain import did_you_mean
from tenyson.config.paths import relative_to_file
from tenyson.config.unset import without_unset
from tenyson.core.run_folder import RunFolder
from tenyson.errors import ConfigError, Problem
from tenyson.jobs.runtime.naming import dated_name
from tenyson.pipeline.graph.expand import expand
from tenyson.pipeline.graph.handover import expected_kind, start_from
from tenyson.pipeline.graph.references import FIELDS, find_references, step_of, substitute
from tenyson.pipeline.graph.step import with_values
from tenyson.tasks.preset import Preset

if TYPE_CHECKING:
    from tenyson.config.schema import Config


@dataclass(frozen=True)
class PlannedStep:
    """One job with its resolved configuration."""

    label: str
    job: str
    config: Mapping[str, Any]
    """All defaults filled in. Where `model_from` is set, the model is the one that step is expected to leave."""
    model_from: str | None = None
    checkpoint_from: str | None = None
    needs: tuple[str, ...] = ()
    """Labels of all steps that must be over before it."""
    late: Mapping[str, Any] = field(default_factory=dict)
    """Values that refer to what earlier steps measure, by dotted key; missing in `config`."""
    parsed: Config | None = None
    """`config` where it was checked already: it is parsed once."""

    @property
    def run_id(self) -> str:
        """Name of the run and of its folder."""
        return str(self.config["run"]["id"])

    @property
    def folder(self) -> Path:
        """The job's folder."""
        return RunFolder.configured(self.config, self.run_id).path


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
        task: the configuration's `task` section; its `args` take precedence over those of the preset.
        overrides: "key=value" for every step.
        defaults: values by section and key for what the preset leaves open.
        source: what errors call it, where no line of a file can be named; `preset NAME` by default.

    Raises:
        ConfigError: problems of all steps at once; each names the preset and the step.
    """
    from tenyson.config.load import check_document
    from tenyson.plugins.settings import PluginChecks

    if any(override.split("=")[0].strip() == "run.id" for override in overrides):
        raise ConfigError("run.id cannot be set for all steps alike", next_step="Use --run-id.")
    swept = preset.sweep.keys().union(*(step.sweep.keys() for step in preset.steps))
    for key in (override.split("=")[0].strip() for override in overrides):
        if key in swept:
            raise ConfigError(
                f"{key} is an axis of the matrix: set for all steps, they would not differ",
                next_step="Leave it out of --set, or change the matrix.",
            )
    source = source or f"preset {preset.name}"
    checks = PluginChecks()
    resolved: dict[str, PlannedStep] = {}
    problems: list[Problem] = []
    written = expand(preset)
    seen: set[str] = set()
    for step in written:
        as_written = relative_to_file(step.config, preset.file) if preset.file else step.config
        config = _complete(as_written, step.label, task, pipeline_id, output_dir, defaults or {})
        missing = [name for name in (step.model_from, step.checkpoint_from) if name and name not in seen]
        problems += [
            Problem(f"{step.label} starts from {name!r}, which is no earlier step") for name in missing
        ]
        seen.add(step.label)
        # A source that is wrong itself has been told.
        if missing or any(name and name not in resolved for name in (step.model_from, step.checkpoint_from)):
            continue
        document = Document(preset.file, config, dict(step.places), part=f"{source}, step {step.label}")
        try:
            late: dict[str, Any] = {}
            if is_shaped(config):
                if step.model_from is not None:
                    model = resolved[step.model_from]
                    kind = expected_kind(model.config)
                    config = start_from(config, model.config, model.folder / kind, kind)
                config, late, wrong = _references(config, resolved, document)
                problems += wrong
            parsed = check_document(same_places(config, document), overrides)
        except ConfigError as error:
            problems += error.problems
            continue
        for override in overrides:
            # What is set for every step takes precedence over what earlier steps measure.
            late.pop(override.split("=")[0].strip(), None)
        if step.model_from is not None and asks_endpoint(parsed.model_dump(include={"generation"})):
            cause = f"{step.label} asks a model behind a URL, so model_from: {step.model_from} would have no effect"
            serve = "serve what it trained (`tenyson serve`), and give that name as model.name in a pipeline of its own"
            problems.append(document.problem(("generation", "engine"), cause, serve))
        problems += checks.problems(parsed, step.job, document)
        resolved[step.label] = PlannedStep(
            step.label, step.job, parsed.model_dump(mode="json"), step.model_from, step.checkpoint_from,
            tuple(step.needs or ()), late, parsed,
        )  # fmt: skip
    if problems:
        # An override is wrong for every step in the same words.
        raise ConfigError(list(dict.fromkeys(problems)))
    if not resolved:
        raise ConfigError(f"{source} has no steps")
    steps = tuple(resolved.values())
    return Plan(pipeline_id, title, steps[0].folder.parent, steps, preset.max_parallel)


def is_shaped(config: Mapping[str, Any], *sections: str) -> bool:
    """Whether the sections that a plan looks into are mappings."""
    return all(isinstance(config.get(name, {}), Mapping) for name in ("run", "task", "model", *sections))


def same_places(config: Mapping[str, Any], document: Document) -> Document:
    """A document of `config`, checked to be plain data, whose keys stand where those of `document` do."""
    plain = from_mapping(config, document.part)
    document.data = plain.data
    document.problems += plain.problems
    return document


def _references(
    config: dict[str, Any], resolved: Mapping[str, PlannedStep], document: Document
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
        label = step_of(name)
        if label not in resolved:
            earlier = did_you_mean(label or "", resolved) or f"earlier: {', '.join(resolved) or 'none'}"
            problems.append(document.problem(path, f"${{{name}}} names no earlier step", earlier))
            continue
        what = name[len(f"steps.{label}.") :]
        if not what.startswith("metrics.") and what not in FIELDS:
            has = did_you_mean(what, FIELDS) or f"metrics.NAME, {', '.join(FIELDS)}"
            problems.append(document.problem(path, f"${{{name}}}: there is no {what!r}", has))
    if problems:
        return config, late, problems
    filled: dict[str, Any] = substitute(config, known)
    for path, _ in list(find_references(filled)):
        # Up to the first list; and a dotted key names a value, so no part of it has a dot itself.
        odd = (place for place, part in enumerate(path) if part.isdigit() or "." in part)
        keys = path[: next(odd, len(path))]
        if not keys:
            continue  # a section that is none, which the schema refuses
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
    written: Mapping[str, Any],
    label: str,
    task: Mapping[str, Any],
    pipeline_id: str,
    output_dir: Path | None,
    defaults: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    config: dict[str, Any] = without_unset(written)
    if not is_shaped(config, *defaults):
        return config  # the schema says what is wrong with it
    for section, values in defaults.items():
        config[section] = {**values, **config.get(section, {})}
    own = config.get("task", {})
    config["task"] = {**own, **task}
    if isinstance(own.get("args", {}), Mapping):
        config["task"]["args"] = {**own.get("args", {}), **(task.get("args") or {})}
    config = with_values(config, "run", id=f"{pipeline_id}-{label}")
    return config if output_dir is None else with_values(config, "run", output_dir=str(output_dir))
