"""Writing: templates, filled in, become files; whatever is there stays as it is."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from tenyson.core.destination import DestinationError

TEMPLATES = files("tenyson.cli.extend") / "templates"
"""Working files for a name that nobody has, `my-thing`: linters and editors read them as they are."""


def tree(folder: str) -> dict[str, str]:
    """Every file below a folder of the templates: text by path."""
    return dict(sorted(_walk(TEMPLATES / folder, "")))


def read(*names: str) -> dict[str, str]:
    """Files of one folder of the templates: text by file name."""
    found = [TEMPLATES.joinpath(*name.split("/")) for name in names]
    return {one.name: one.read_text(encoding="utf-8") for one in found}


def write_files(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Write new files into a folder, all of them or none. Raises: DestinationError: one is there, or cannot be written."""
    paths = {folder / name: text for name, text in texts.items()}
    for path in paths:
        if path.exists() or path.is_symlink():
            raise _refused(path)
    written: list[Path] = []
    try:
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise _failed(error, folder) from error
    return written


def write_folder(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Write files into a folder that is made for them. Raises: DestinationError: it is there, or cannot be written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError as error:
        raise (_refused(folder) if error.filename == str(folder) else _failed(error, folder)) from None
    except OSError as error:
        raise _failed(error, folder) from error
    try:
        return write_files(texts, folder)
    except DestinationError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _walk(folder: Traversable, above: str) -> list[tuple[str, str]]:
    found = []
    for one in folder.iterdir():
        if one.name == "__pycache__":  # installers compile templates like any other module
            continue
        path = f"{above}{one.name}"
        found += _walk(one, f"{path}/") if one.is_dir() else [(path, one.read_text(encoding="utf-8"))]
    return found


def _refused(path: Path) -> DestinationError:
    return DestinationError(
        "it exists, and `tenyson new` overwrites nothing",
        place=str(path),
        next_step="Give another NAME, or another folder with --to.",
    )


def _failed(error: OSError, folder: Path) -> DestinationError:
    if error.errno == errno.EEXIST:
        return _refused(Path(str(error.filename)))
    return DestinationError(f"cannot write: {error.strerror}", place=str(error.filename or folder))
