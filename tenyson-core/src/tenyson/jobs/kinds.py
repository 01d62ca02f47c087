"""The class of a kind of job. What is known of the kind itself is its `JobKind` (`tenyson.plugins.job_kinds`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tenyson.plugins.job_kinds import job_kind
from tenyson.plugins.manager import PluginManager

if TYPE_CHECKING:
    from tenyson.jobs.job import Job


def job_class(job_type: str) -> type[Job]:
    """SFTJob, RLJob, EvalJob, or the class that a plugin provides. Importing core's needs no torch.

    Raises: UnknownPluginError, DuplicatePluginError, BrokenPluginError.
    """
    return cast("type[Job]", PluginManager().load(job_kind(job_type)))
