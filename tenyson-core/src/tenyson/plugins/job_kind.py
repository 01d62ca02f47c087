"""JobKind: all that Tenyson must know about a kind of job. Core's own are in `builtin`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenyson.plugins.entries import Entry

LONGEST_NAME = 16
LONGEST_PHASE = 8
"""Characters that the telemetry database has room for."""


@dataclass(frozen=True, kw_only=True)
class JobKind(Entry):
    """A kind of job: `name` is its `job:` in an experiment file, `load` a subclass of `tenyson.jobs.job.Job`.

    Raises: ValueError: name or phase is longer than the telemetry database allows.
    """

    trains: bool = True
    """Whether it trains a model: it writes checkpoints, resumes from them, and leaves adapter/ or model/."""
    generates: bool = False
    """Whether it plays rollouts with an engine, so that `generation` and `engine_args` act."""
    samples: str = ""
    """The TaskPlugin method that it reads its samples from, called with (split, seed)."""
    unread: tuple[str, ...] = ()
    """Sections of the configuration, and single keys as section.key, without effect on it: setting one is a warning."""
    verbs: tuple[str, ...] | None = None
    """What can be asked of it while it runs; None for every control verb, as a training can follow them."""
    phase: str = ""
    """The `phase` of its rows in the telemetry database; its name where not given."""
    logs: tuple[str, ...] = ("loss",)
    """Metrics that a finished training must have logged; a report without them is an error."""
    curves: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Charts of the report beside loss, reward and KL: metrics by the name of the chart."""
    rows: str = "sequences"
    """What one batch of a training holds, in the plural, for `tenyson run --dry-run`."""
    reference: bool = False
    """Whether the model that it starts from acts throughout, as DPO's reference does."""
    trl_config: str | None = None
    """The "module:Class" of its TRL configuration, such as "trl:SFTConfig"; `trl` is checked against it."""
    arguments: str | None = None
    """The "module:attribute" of a `tenyson.config.checks.trl_arguments.TrlArguments`: which TRL arguments act."""
    memory: str | None = None
    """The "module:function" of its memory model, called as those in `tenyson.jobs.models.memory`; None: a training's."""
    preflight: str | None = None
    """The "module:Class" of its `tenyson.jobs.preflight.job_checks.Preflight`; None: model, checkpoint and machine alone."""

    def __post_init__(self) -> None:
        if len(self.name) > LONGEST_NAME:
            raise ValueError(f"the job kind {self.name!r} has a name of more than {LONGEST_NAME} characters")
        object.__setattr__(self, "phase", self.phase or self.name)
        if len(self.phase) > LONGEST_PHASE:
            raise ValueError(
                f"the job kind {self.name!r} needs a phase of at most {LONGEST_PHASE} characters, not {self.phase!r}"
            )

    def reads(self, key: str) -> bool:
        """Whether a section of the configuration, or a key as section.key, acts in this job."""
        return key not in self.unread and key.partition(".")[0] not in self.unread

    @property
    def unread_sections(self) -> tuple[str, ...]:
        """Whole sections of the configuration that do not act in this job."""
        return tuple(key for key in self.unread if "." not in key)

    @property
    def unit(self) -> str:
        """What its progress counts."""
        return "steps" if self.trains else "rollouts"

    def part(self, name: str) -> Any | None:
        """Import what one of the fields `trl_config`, `arguments`, `memory` or `preflight` names; None where it is not set.

        Raises: ImportError, AttributeError: it does not exist.
        """
        target = getattr(self, name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)
