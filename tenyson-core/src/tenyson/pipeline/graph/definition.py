"""Definition: a step as the journal keeps it, so that a controller that never saw the Python code can launch it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from tenyson.core.run_folder import RunFolder
from tenyson.errors import ConfigError, ModelError, Problem
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import RESUME_LATEST, JobSpec
from tenyson.pipeline.graph.handover import start_from_result
from tenyson.pipeline.graph.references import fill_references
from tenyson.pipeline.graph.step import with_values


@dataclass(frozen=True)
class Finished:
    """An earlier step as a later one sees it."""

    config: Mapping[str, Any]
    """What it ran with."""
    result: JobResult


@dataclass(frozen=True)
class Definition:
    """One step: its job, but for what earlier steps hand over."""

    label: str
    spec: JobSpec
    needs: tuple[str, ...] = ()
    """Labels of the steps that must be over before it."""
    model_from: str | None = None
    checkpoint_from: str | None = None
    late: Mapping[str, Any] = field(default_factory=dict)
    """Values that refer to results of earlier steps, by dotted key."""

    def launchable(self, finished: Mapping[str, Finished], *, resume: bool) -> JobSpec:
        """The job with what earlier steps hand over; with `resume` it continues from its own latest checkpoint.

        Raises:
            ModelError: an earlier step left no model or no checkpoint.
            ConfigError: a value that an earlier step gives is missing or does not fit.
        """
        config: Mapping[str, Any] = self.spec.config
        if self.model_from is not None:
            source = finished.get(self.model_from)
            config = start_from_result(
                config, source.config if source else {}, self.model_from, source.result if source else None
            )
        if self.late:
            config = fill_references(config, self.late, {name: one.result for name, one in finished.items()})
        if self.checkpoint_from is not None:
            checkpoint = newest_checkpoint(self.checkpoint_from, finished.get(self.checkpoint_from))
            config = with_values(config, "training", resume_from_checkpoint=str(checkpoint))
        if resume:
            config = with_values(config, "training", resume_from_checkpoint=RESUME_LATEST)
        return replace(self.spec, config=config)

    def sources(self, results: Mapping[str, JobResult | None]) -> list[str]:
        """Labels of the earlier steps whose folders it reads: a model, a checkpoint, or a path in its configuration."""
        import json

        asked = json.dumps([self.spec.config, dict(self.late)], default=str)

        def reads(label: str) -> bool:
            result = results[label]
            folder = result.local_output_dir if result is not None else None
            return label in (self.model_from, self.checkpoint_from) or (
                label in self.needs
                and folder is not None
                and (json.dumps(folder)[1:-1] in asked or f"steps.{label}.folder" in asked)
            )

        return [label for label in results if reads(label)]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Restore the result of `to_json`."""
        return cls(**{**data, "spec": JobSpec(**data["spec"]), "needs": tuple(data["needs"])})


def newest_checkpoint(label: str, source: Finished | None) -> Path:
    """The job folder whose newest checkpoint is meant. Raises: ModelError: there is none here."""
    folder = Path(source.result.local_output_dir) if source and source.result.local_output_dir else None
    if folder is None or not has_checkpoint(source.result if source else None):
        raise ModelError(
            f"the step {label!r} left no checkpoint to start from",
            place=str(folder) if folder else None,
            next_step="Set training.save_steps in it; an evaluation has none.",
        )
    return folder


def has_checkpoint(result: JobResult | None) -> bool:
    """Whether there may be something to resume from: not, if the job's folder is here and has no checkpoint."""
    if result is None or not result.local_output_dir:
        return False
    folder = Path(result.local_output_dir)
    return not folder.is_dir() or any(RunFolder(folder).checkpoints.glob("*"))


def check_order(definitions: Iterable[Definition]) -> None:
    """Raises: ConfigError: a step needs one that is not there, itself, or one that needs it in turn."""
    steps = {one.label: one for one in definitions}
    problems = [
        Problem(
            f"step {one.label!r} needs {name!r}, which is no step", suggestion=f"steps: {', '.join(steps)}"
        )
        for one in steps.values()
        for name in one.needs
        if name not in steps
    ]
    if problems:
        raise ConfigError(problems)
    over: set[str] = set()
    while len(over) < len(steps):
        ready = [label for label, one in steps.items() if label not in over and over.issuperset(one.needs)]
        if not ready:
            circle = ", ".join(label for label in steps if label not in over)
            raise ConfigError(f"these steps need each other in a circle: {circle}")
        over.update(ready)
