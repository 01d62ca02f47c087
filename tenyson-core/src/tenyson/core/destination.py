"""Destination: a path that the user names to be written to, which may be a file, a link, a fifo, a device or `-`.

A regular file is replaced in one move once it is complete. What is anything else is opened and written to, as by any Unix
tool; a link's target is written, never the link replaced.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tenyson.core.stdio import OutputError, binary_stdout
from tenyson.errors import TenysonError

STDOUT = "-"


class DestinationError(TenysonError, ValueError):
    """Nothing can be written to the path."""


def is_stdout(path: str) -> bool:
    """Whether it is `-`, or a name of this process's standard output such as /dev/stdout."""
    if path == STDOUT:
        return True
    try:
        return _is_ours(path) and os.path.samestat(os.stat(path), os.fstat(1))  # noqa: PTH116
    except OSError:
        return False


def is_special(path: str | Path) -> bool:
    """Whether something is there that must be written to, since it cannot be replaced: a device, a fifo, a descriptor."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or _is_ours(str(path))


@contextlib.contextmanager
def open_destination(path: str | Path) -> Iterator[IO[bytes]]:
    """Write bytes to `path`; folders are made. If the block raises, a regular file stays as it was.

    Raises:
        DestinationError: the path is empty, names a folder, or cannot be written.
        OutputError: the reader of a pipe or fifo has left.
    """
    name = str(path)
    try:
        with _open(name) as file:
            yield file
    except BrokenPipeError as error:
        raise OutputError(str(error.strerror), reader_left=True) from None
    except OSError as error:
        raise DestinationError(f"cannot write the file: {error.strerror or error}", place=name) from error


@contextlib.contextmanager
def _open(name: str) -> Iterator[IO[bytes]]:
    if not name:
        raise DestinationError("the name of the file to write is empty", next_step="`-` is standard output.")
    if is_stdout(name):
        stdout = binary_stdout()
        yield stdout
        stdout.flush()
        return
    target = Path(os.path.realpath(name))  # also where the last link leads to nothing yet
    if name.endswith(os.sep) or target.is_dir():
        raise DestinationError("this is a folder", place=name, next_step="Name a file in it.")
    if is_special(name):
        # Buffered only: no position is asked for, which a fifo has not.
        with open(name, "wb") as file:  # noqa: PTH123
            yield file
        return
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    with _replacing(target) as file:
        yield file


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    before = target.stat() if target.exists() else None
    if before is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    draft = None
    if before is None or before.st_nlink == 1:
        # A file with several names keeps them; a folder that takes no new file may hold one that can be written.
        with contextlib.suppress(PermissionError):
            descriptor, draft = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    if draft is None:
        with target.open("wb") as file:
            yield file
        return
    try:
        with io.open(descriptor, "wb") as file:  # noqa: UP020  a descriptor, not a path
            yield file
        os.chmod(draft, stat.S_IMODE(before.st_mode) if before else 0o666 & ~_umask())  # noqa: PTH101
        _move(draft, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)  # noqa: PTH108


def _move(draft: str, target: Path) -> None:
    try:
        os.replace(draft, target)  # noqa: PTH105
    except OSError:
        # A file that is a mount of its own, as in containers, cannot be replaced.
        with open(draft, "rb") as source, target.open("r+b") as file:  # noqa: PTH123
            import shutil

            file.truncate()
            shutil.copyfileobj(source, file)


def _is_ours(path: str) -> bool:
    """Whether it is a name for a descriptor of a process: /dev/stdout, /dev/fd/3, /proc/self/fd/3, or a link to one."""
    for _ in range(40):
        folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH120
        if folder.startswith("/proc/") and folder.endswith("/fd"):
            return True
        try:
            path = os.path.join(folder, os.readlink(os.path.join(folder, os.path.basename(path))))  # noqa: PTH115, PTH118, PTH119
        except OSError:
            return False
    return False


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
