"""The project: the folder that a pipeline was begun in, to which its paths are relative. It may have been moved since, or copied.

Moved: its files are here, and what was begun there is no longer there. Copied: it is in both places, and whatever the original does
is none of the copy's business.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tenyson.core.database_url import DEFAULT_DB_URL
from tenyson.errors import PipelineError
from tenyson.pipeline.journal.origin import Origin

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import PipelineRecord

Standing = Literal["same", "moved", "copied"]


@dataclass(frozen=True)
class Place:
    """Where a pipeline's project is now."""

    root: Path
    begun: Path
    """Where it was when the pipeline was begun."""
    standing: Standing = "same"


def locate(journal: Journal, record: PipelineRecord) -> Place:
    """Find a pipeline's project. Nothing is changed, here or there.

    Raises: PipelineError: the folder that it was begun in is gone, and its files are not here.
    """
    now = Path.cwd()
    begun = record.origin.folder or now
    root = _by_journal(journal, record, begun)
    if root is not None:
        if _same(root, begun):
            return Place(begun if begun.is_dir() else root, begun)
        return Place(root, begun, "copied" if _is_there(journal, record, begun, root) else "moved")
    # The journal is elsewhere, and many projects may share it: the runs' folders tell.
    if _same(now, begun):
        return Place(now, begun)
    if _has_runs(journal, record, now):
        return Place(now, begun, "copied" if begun.is_dir() else "moved")
    if begun.is_dir():
        return Place(begun, begun)
    raise PipelineError(
        f"the folder in which {record.id} was begun is gone, and its runs are not here",
        place=str(begun),
        next_step="Give the command in the folder that has the project now.",
    )


def rebased(value: Any, old: Path, new: Path) -> Any:
    """JSON-safe data in which every path under `old`, SQLite URLs among them, is the same path under `new`."""
    if isinstance(value, Mapping):
        return {rebased(key, old, new): rebased(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [rebased(item, old, new) for item in value]
    if not isinstance(value, str):
        return value
    for before in ("", "sqlite:///"):
        start = f"{before}{old}"
        if value == start or value.startswith((f"{start}/", f"{start}:")):
            return f"{before}{new}{value.removeprefix(start)}"
    return value


def _by_journal(journal: Journal, record: PipelineRecord, begun: Path) -> Path | None:
    """The project by its journal's file, which moves with it; None where that is elsewhere."""
    file = journal.file
    if file is None:
        return None
    if begun.is_dir() and file.is_relative_to(begun.resolve()):
        return begun
    if not record.origin.knows_journal:
        # An earlier version's, whose default was the project's own folder; it did not say where the file was.
        if record.origin.folder is None:
            return Path.cwd()
        default = file.name == DEFAULT_DB_URL.rpartition("/")[2] and not begun.is_dir()
        return file.parent if default or _has_runs(journal, record, file.parent) else None
    if record.origin.journal is None:
        return None
    parts = record.origin.journal.parts
    return Path(*file.parts[: -len(parts)]) if file.parts[-len(parts) :] == parts else None


def _is_there(journal: Journal, record: PipelineRecord, begun: Path, root: Path) -> bool:
    """Whether the folder of then has this very pipeline still. The file is only read."""
    file = journal.file
    assert file is not None
    there = begun / file.relative_to(root.resolve())
    if not there.is_file() or there.samefile(file):
        return False
    try:
        # "immutable": SQLite makes no file beside it.
        with closing(sqlite3.connect(f"{there.resolve().as_uri()}?immutable=1", uri=True)) as database:
            found = database.execute("SELECT plan FROM pipelines WHERE id = ?", (record.id,)).fetchone()
    except sqlite3.Error:
        return True
    if found is None:
        waiting = there.with_name(f"{there.name}-wal")
        return waiting.is_file() and waiting.stat().st_size > 0
    return Origin.from_json(json.loads(found[0])).nonce == record.origin.nonce


def _has_runs(journal: Journal, record: PipelineRecord, root: Path) -> bool:
    """Whether a folder of one of its runs, or its own, is in `root`."""
    outputs = record.request.output_dir
    if outputs.is_absolute():
        return False
    names = {record.id, *(one.run_id for one in journal.attempts(record.id) if one.reused_from is None)}
    return any((root / outputs / name).is_dir() for name in names)


def _same(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False
