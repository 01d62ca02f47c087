"""PipelineRequest: how a pipeline is to run. The journal keeps it, so that another controller can continue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tenyson.cloud.adapted import adapted
from tenyson.cloud.build import build_backend
from tenyson.errors import DamagedRowError
from tenyson.pipeline.graph.policy import FailurePolicy

if TYPE_CHECKING:
    from tenyson.cloud.backend import Backend, BaseBackend


FORMAT = 2
"""Of a pipeline's row. Rows of releases before have none, and another fingerprint."""


@dataclass(frozen=True)
class BackendRequest:
    """A backend by its name and settings."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, backend: Backend | None) -> Self | None:
        """How to build this backend again; None where it does not say."""
        whole = None if backend is None else adapted(backend)
        return None if whole is None or whole.settings is None else cls(whole.name, whole.settings)

    def build(self) -> BaseBackend:
        """The backend. Raises: UnknownPluginError, PluginError; TypeError: it does not take these settings."""
        return build_backend(self.name, self.settings)


@dataclass(frozen=True)
class PipelineRequest:
    """What is asked of a pipeline besides its steps."""

    policy: FailurePolicy = field(default_factory=FailurePolicy)
    max_parallel: int = 1
    output_dir: Path = Path("./outputs")
    """Has one folder for each run, and one for the pipeline itself; relative to the project."""
    backend: BackendRequest | None = None
    """None: the cloud is an object of a script's own, and only that script can continue."""
    rerun: tuple[str, ...] | None = ()
    """Labels of the steps that run even if nothing changed; None for all."""
    required: tuple[str, ...] = ()
    """Labels of the steps that may not run: an earlier pipeline must have their results."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each task's source when the pipeline was begun, by the task's name."""
    next_command: str = ""
    """What to suggest once all steps have succeeded."""
    format: int = FORMAT
    """Of the row that it was read from."""

    @property
    def selection(self) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """Which steps run and which are taken from earlier pipelines: pipelines that differ in it are not the same."""
        return self.rerun, self.required

    def build_backend(self, pipeline_id: str) -> BaseBackend | None:
        """The backend as the journal has it. Raises: DamagedRowError: it does not take its settings."""
        try:
            return None if self.backend is None else self.backend.build()
        except TypeError as error:
            raise DamagedRowError(
                f"the journal has a damaged row: pipelines, pipeline {pipeline_id!r}: plan.backend.settings: {error}"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """JSON-safe data, under the keys that the journal has always had."""
        about: dict[str, Any] = {
            "policy": vars(self.policy),
            "max_parallel": self.max_parallel,
            "output_dir": str(self.output_dir),
            "anew": None if self.rerun is None else list(self.rerun),
            "required": list(self.required),
            "sources": dict(self.sources),
            "next": self.next_command,
            "format": self.format,
        }
        if self.backend is not None:
            about["backend"] = {"name": self.backend.name, "settings": dict(self.backend.settings)}
        return about

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From what `to_json` returned, in this release or an earlier one: some keys may be missing."""
        where, rerun = data.get("backend"), data.get("anew", ())
        return cls(
            policy=FailurePolicy(**(data.get("policy") or {})),
            max_parallel=data.get("max_parallel", 1),
            output_dir=Path(data.get("output_dir", "./outputs")),
            backend=None if where is None else BackendRequest(where["name"], where["settings"]),
            rerun=None if rerun is None else tuple(rerun),
            required=tuple(data.get("required", ())),
            sources=data.get("sources") or {},
            next_command=data.get("next", ""),
            format=data.get("format", 1),
        )
