"""Publication: a folder of files appears under its name whole, or not at all, whatever moment a kill or a power cut meets.

Written into a draft, each file forced to the disk; a manifest with every file's SHA-256; one rename to the final name; then
LATEST is replaced. A reader trusts a folder once its files have the sums of its manifest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tenyson.core.files.atomic import sync, write_json, write_text
from tenyson.core.files.digest import file_sha256
from tenyson.core.run_folder import LATEST
from tenyson.errors import ModelError

MANIFEST = "manifest.json"
PINS = "used-by"
ANOTHER = "Use another one; `--resume-from-checkpoint latest` takes the newest whole one of the run."
_DIGITS, _NAME = 18, 100_000
_DRAFT, _REPLACED, _DELETED = ".draft-", ".replaced-", ".deleted-"


def make_draft(final: Path) -> Path:
    """An empty folder to write into, beside where the final one will be."""
    draft = final.with_name(_DRAFT + final.name)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def publish(draft: Path, final: Path) -> None:
    """Give a draft its final name, and let LATEST beside it name it.

    Raises: OSError: a file does not reach the disk; LATEST then names what it named before.
    """
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    sums = {
        str(path.relative_to(draft)): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in files
    }
    write_json(draft / MANIFEST, {"format": 1, "files": sums}, indent=1, durable=True)
    for path in files:
        sync(path)
    for folder in {path.parent for path in files} | {draft}:
        sync(folder)
    replaced = final.with_name(_REPLACED + final.name)
    if final.exists():
        # It stays to be found until the new one stands in its place.
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    draft.rename(final)
    # The folder around them too: the first one may have been made a moment ago.
    for folder in (final.parent, final.parent.parent):
        sync(folder)
    point_to(final)
    shutil.rmtree(replaced, ignore_errors=True)


def point_to(final: Path) -> None:
    """Let LATEST name a folder. Raises: OSError: it cannot be written."""
    write_text(final.with_name(LATEST), final.name + "\n", durable=True)


def remove(path: Path) -> None:
    """Delete a folder; renamed first, so that a kill in the middle leaves no half of it under its name."""
    doomed = path.with_name(_DELETED + path.name)
    shutil.rmtree(doomed, ignore_errors=True)
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def pin(path: Path, run_id: str) -> None:
    """Note in a published folder that a run was made from it, so that it is kept; nothing elsewhere."""
    if (path / MANIFEST).is_file() and os.access(path, os.W_OK):
        users = set(_text(path / PINS).split()) if (path / PINS).is_file() else set()
        (path / PINS).write_text("\n".join(sorted(users | {run_id})) + "\n", encoding="utf-8")


def is_pinned(path: Path) -> bool:
    """Whether a run was made from it."""
    return (path / PINS).is_file()


def sweep(parent: Path) -> None:
    """Remove what a killed process left half done; only while no other one writes here."""
    for pattern in (_DRAFT, _DELETED):
        for path in parent.glob(f"{pattern}*"):
            shutil.rmtree(path, ignore_errors=True)


def newest_first(parent: Path) -> Iterator[Path]:
    """Published step folders: the one that LATEST names, those before it, those after it (of a former attempt, or not yet
    named). One that was just being replaced is among them.
    """
    found = {step_of(path): path for path in parent.glob(f"{_REPLACED}step-*")}
    found |= {step_of(path): path for path in parent.glob("step-*")}
    pointer = parent / LATEST
    latest = step_of(parent / _text(pointer).strip()) if pointer.is_file() else -1
    for step in sorted(found, key=lambda step: (step <= latest, step), reverse=True):
        if step >= 0:
            yield found[step]


def check(path: Path) -> str | None:
    """What is wrong with a published folder, file by file; None where every file is as it was written."""
    try:
        listed = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name, entry in listed.items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if (size := file.stat().st_size) != entry["bytes"]:
                return f"{name} has {size} bytes instead of {entry['bytes']}"
            if file_sha256(file) != entry["sha256"]:
                return f"{name} has other content than was written"
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None


def require_whole(path: Path) -> None:
    """Raises: ModelError: a file of a published folder is missing or changed."""
    if fault := check(path):
        raise ModelError(
            f"this checkpoint is damaged: {fault}",
            place=str(path),
            next_step=ANOTHER,
        )


def step_of(path: Path) -> int:
    """The step in a checkpoint's name; -1 where there is none."""
    number = path.name.rpartition("step-")[2]
    return int(number) if number.isdecimal() and len(number) <= _DIGITS else -1


def _text(path: Path) -> str:
    # A name that is damaged is no name.
    return path.read_text(encoding="utf-8", errors="replace")[:_NAME]
