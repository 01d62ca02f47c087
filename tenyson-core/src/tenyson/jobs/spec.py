"""A JobSpec: everything a machine needs to run a job. JSON-safe; never a pickle, never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenyson.core.run_folder import RunFolder
from tenyson.plugins.job_kinds import recorded_kind

RESUME_LATEST = "latest"
"""The value of training.resume_from_checkpoint that takes the newest whole checkpoint of the run."""


@dataclass(frozen=True)
class JobSpec:
    """One job, ready to be shipped."""

    run_id: str
    """The run; also the name of its folder."""
    job_type: str
    """The kind of job, by its name."""
    task: str
    """The task's "module:Class", or a path to its file."""
    config: Mapping[str, Any]
    """The resolved configuration; `run.id` and `task.args` are filled in."""
    token: str = ""
    """Names one attempt: a backend starts it once, however often it is submitted. "": each submission is an attempt."""

    @property
    def folder(self) -> Path:
        """`<run.output_dir>/<run id>`: where the job's files are, or will be brought to."""
        return RunFolder.configured(self.config, self.run_id).path


def resumed(spec: JobSpec) -> JobSpec:
    """The same job, resumed from its latest checkpoint; an evaluation, which has none, begins again."""
    if not recorded_kind(spec.job_type).trains:
        return spec
    training = {**(spec.config.get("training") or {}), "resume_from_checkpoint": RESUME_LATEST}
    return replace(spec, config={**spec.config, "training": training})


def resume_reference(config: Mapping[str, Any]) -> str | None:
    """The checkpoint that a job resumes from, as its configuration names it; None for one that begins at step 0."""
    reference: str | None = (config.get("training") or {}).get("resume_from_checkpoint")
    return reference or None


def resumes_latest(config: Mapping[str, Any]) -> bool:
    """Whether a job resumes from the newest checkpoint of its own run."""
    return resume_reference(config) == RESUME_LATEST
