"""A JobSpec: everything a machine needs to run a job. JSON-safe; never a pickle, never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tenyson.tasks.preset import JobType


@dataclass(frozen=True)
class JobSpec:
    """One job, ready to be shipped."""

    run_id: str
    """The run; also the name of its folder."""
    job_type: JobType
    """sft, rl or eval."""
    task: str
    """The task's "module:Class", or a path to its file."""
    config: Mapping[str, Any]
    """The resolved configuration; `run.id` and `task.args` are filled in."""
    token: str = ""
    """Names one attempt: a backend starts it once, however often it is submitted. "": each submission is an attempt."""


def resumed(spec: JobSpec) -> JobSpec:
    """The same job, going on from its latest checkpoint; an evaluation, which has none, begins again."""
    if spec.job_type == "eval":
        return spec
    training = {**(spec.config.get("training") or {}), "resume_from_checkpoint": "latest"}
    return replace(spec, config={**spec.config, "training": training})
