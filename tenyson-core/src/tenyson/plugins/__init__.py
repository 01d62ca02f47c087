"""Who joins in: hook specifications, entries and the manager.

A plugin module marks its hooks with `tenyson.plugins.hookimpl` and is named in the `tenyson` entry-point group.
"""

import pluggy

from tenyson.plugins.entries import BackendEntry, EngineEntry, ReportHelperEntry, SinkEntry, TaskEntry

hookimpl = pluggy.HookimplMarker("tenyson")

__all__ = ["BackendEntry", "EngineEntry", "ReportHelperEntry", "SinkEntry", "TaskEntry", "hookimpl"]
