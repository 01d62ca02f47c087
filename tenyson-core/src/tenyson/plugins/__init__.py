"""Who joins in: hook specifications, entries and the manager.

A plugin module marks its hooks with `tenyson.plugins.hookimpl` and is named in the `tenyson` entry-point group.
"""

import pluggy

from tenyson.plugins.entries import BackendEntry, EngineEntry, ReportHelperEntry, SinkEntry, TaskEntry
from tenyson.plugins.job_kind import JobKind

hookimpl = pluggy.HookimplMarker("tenyson")

__all__ = [
    "BackendEntry",
    "EngineEntry",
    "JobKind",
    "ReportHelperEntry",
    "SinkEntry",
    "TaskEntry",
    "hookimpl",
]
