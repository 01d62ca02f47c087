"""Data sets of the Hugging Face Hub, read through `datasets`: from its cache, or as a stream where they are large."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.explain import nearest
from tenyson.errors import MissingDependencyError, TaskError
from tenyson.plugins.failure import one_line
from tenyson.tasks.dataset.files import Read, kind_of
from tenyson.tasks.dataset.row import Row

if TYPE_CHECKING:
    from tenyson.tasks.dataset.settings import SourceSettings

STREAMED = 4 << 30
"""Bytes to download from which on a data set is streamed rather than stored."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_name(text: str) -> bool:
    """Whether a path that does not exist here may be the name of a data set on the Hub."""
    # Only old names have no owner, and none of them has a dot: `data.cvs` is a file with a slip.
    return bool(_NAME.fullmatch(text)) and kind_of(Path(text)) is None and ("/" in text or "." not in text)


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a commit, whose rows never change."""
    return bool(_COMMIT.fullmatch(revision or ""))


def require(path: Path) -> None:
    """Raises: TaskError: there is no such file or folder; the nearest one is named."""
    if path.exists():
        return
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = nearest(path.name, beside)
    raise TaskError(
        "there is no such file or folder",
        place=str(path),
        next_step=f"Did you mean {path.parent / near}?" if near else f"Looked for from {Path.cwd()}.",
    )


def rows(source: SourceSettings, split: str, label: str) -> Read:
    """The rows of one split. Raises: TaskError: it cannot be had. MissingDependencyError."""
    loaded = _loaded(source, split)
    for number, values in enumerate(loaded, 1):
        yield Row(f"{label}/{split}:{number}", values)


def commit(source: SourceSettings) -> str:
    """The commit that the revision is at. Raises: TaskError: the Hub does not answer, or has no such data set."""
    if is_commit(source.revision):
        return str(source.revision)
    _datasets()
    from huggingface_hub import HfApi

    try:
        found = HfApi().dataset_info(source.path, revision=source.revision).sha
    except Exception as error:  # whatever the client and the network raise
        raise _unavailable(source, error) from error
    return str(found)


def _loaded(source: SourceSettings, split: str) -> Any:
    datasets = _datasets()
    try:
        builder = datasets.load_dataset_builder(source.path, source.subset, revision=source.revision)
        splits = builder.info.splits
        if splits and split.partition("[")[0] not in splits:
            raise TaskError(
                f"the data set {source.path} has no split {split!r}",
                next_step=f"It has {', '.join(map(str, splits))}.",
            )
        large = (builder.info.download_size or 0) > STREAMED and "[" not in split
        return datasets.load_dataset(
            source.path, source.subset, split=split, revision=source.revision, streaming=large
        )
    except TaskError:
        raise
    except Exception as error:
        raise _unavailable(source, error) from error


def _unavailable(source: SourceSettings, error: Exception) -> TaskError:
    return TaskError(
        f"the data set {source.path} cannot be read from the Hub: {one_line(error)}",
        next_step="A file or folder of this machine is written with its path, such as ./data.jsonl.",
    )


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(
            "datasets", needed_for="data sets of the Hub", install="tenyson-core[train]"
        ) from None
    return datasets
