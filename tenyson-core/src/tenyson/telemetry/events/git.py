"""Git: the commit that code is at and what differs from it; what cannot be found out is recorded as unknown, with the reason.

"Clean" is said only of a tree that was looked at as a whole: of tracked files, of code that git does not track, and of the
task's own file, wherever that is.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

UNKNOWN = "unknown: "
"""Begins `git_diff_hash` where it is no hash; the reason follows."""

_SECONDS = 10
_WIDTH = 64
"""Characters of the column."""
_CODE = (".py", ".pyi", ".pyx", ".so", ".pyd", ".jinja", ".jinja2", ".j2")
"""Files that change what a run does though git does not track them. Data and outputs are no code."""
_MOST = 64 * 2**20
"""Bytes of untracked code that are read."""


def git_state(folder: Path, files: Iterable[str | Path] = ()) -> dict[str, str | None]:
    """git_commit, and git_diff_hash: a hash of what differs from it, None for a clean tree, or "unknown: REASON".

    Args:
        files: further files that count, such as the task's; those that git tracks are covered by the tree.
    """
    try:
        top = Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").removesuffix(b"\n")))
    except _Unknown as error:
        reason = "no git repository" if "not a git repository" in str(error) else str(error)
        return {"git_commit": None, "git_diff_hash": _unknown(reason)}
    try:
        commit = _git(top, "rev-parse", "--verify", "--quiet", "HEAD").decode().strip()
    except _Unknown as error:
        reason = str(error) if error.told else "the repository has no commit yet"
        return {"git_commit": None, "git_diff_hash": _unknown(reason)}
    try:
        return {"git_commit": commit, "git_diff_hash": _differences(top, files)}
    except _Unknown as error:
        return {"git_commit": commit, "git_diff_hash": _unknown(str(error))}


def code_in_words(commit: str | None, difference: str | None) -> str:
    """Such as "commit 1a2b3c4d5e6f + uncommitted changes"."""
    reason = (difference or "").removeprefix(UNKNOWN)
    if not commit:
        return f"no git commit ({reason})" if reason != (difference or "") else "no git commit"
    if difference is None:
        return f"commit {commit[:12]}"
    if difference.startswith(UNKNOWN):
        return f"commit {commit[:12]}, changes unknown ({reason})"
    return f"commit {commit[:12]} + uncommitted changes"


class _Unknown(Exception):
    """Git did not tell. `told`: it said why."""

    def __init__(self, reason: str, *, told: bool = True) -> None:
        super().__init__(reason)
        self.told = told


def _differences(top: Path, files: Iterable[str | Path]) -> str | None:
    hidden = [path for path in _unwatched(top) if (top / path).exists()]
    if hidden:
        raise _Unknown(f"git ignores changes of {hidden[0]} and {len(hidden) - 1} more")
    tracked = _git(
        top, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--binary", "--no-relative",
        "--ignore-submodules=none", "--submodule=diff",
    )  # fmt: skip
    whole = hashlib.sha256(tracked)
    others = _untracked(top, files)
    for name, path in others:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _Unknown(f"{name} cannot be read") from error
        whole.update(f"\0{name}\0{hashlib.sha256(content).hexdigest()}".encode())
    return whole.hexdigest() if tracked or others else None


def _unwatched(top: Path) -> Iterator[str]:
    """Tracked files that git was told not to look at (assume-unchanged, skip-worktree)."""
    for entry in _git(top, "ls-files", "-v", "-z").split(b"\0"):
        if entry[:1].islower() or entry[:1] == b"S":
            yield os.fsdecode(entry[2:])


def _untracked(top: Path, files: Iterable[str | Path]) -> list[tuple[str, Path]]:
    """Code that no commit describes: name and path."""
    found: dict[str, Path] = {}
    for entry in _git(top, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0"):
        name = os.fsdecode(entry)
        if name.endswith("/"):
            raise _Unknown(f"{name} is a repository of its own")
        if name.endswith(_CODE):
            found[os.fsencode(name).decode(errors="replace")] = top / name
    for given in files:
        if (path := _file(given)) is not None and not _is_installed(path):
            if not path.is_relative_to(top.resolve()):
                found[path.name] = path
            elif _is_ignored(top, path):
                found[path.relative_to(top.resolve()).as_posix()] = path
    others = [(name, path) for name, path in sorted(found.items()) if path.is_file() or path.is_symlink()]
    try:
        size = sum(path.stat().st_size for _, path in others)
    except OSError as error:
        raise _Unknown("an untracked file cannot be read") from error
    if size > _MOST:
        raise _Unknown(f"{len(others)} untracked files of code are too large")
    return others


def _file(given: str | Path) -> Path | None:
    """The file of a task, which may be written as FILE.py:CLASS; None where it is no file."""
    text = str(given)
    path = Path(text.partition(".py:")[0] + ".py" if ".py:" in text else text).expanduser()
    return path.resolve() if path.is_file() else None


def _is_installed(path: Path) -> bool:
    """Whether the versions of distributions describe it."""
    return "site-packages" in path.parts or path.is_relative_to(Path(sys.base_prefix) / "lib")


def _is_ignored(top: Path, path: Path) -> bool:
    try:
        _git(top, "check-ignore", "-q", "--", str(path))
    except _Unknown as error:
        if error.told:
            raise
        return False
    return True


def _git(folder: Path, *arguments: str) -> bytes:
    """What git prints. Raises: _Unknown: it fails, is slow, or is not installed."""
    environment = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise _Unknown(f"git {arguments[0]} took longer than {_SECONDS} s") from error
    except OSError as error:
        raise _Unknown(f"git cannot be started: {error.strerror or error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        first = said.splitlines()[0].removeprefix("fatal: ").removeprefix("error: ") if said else ""
        reason = f"git {arguments[0]}: {first}" if first else f"git {arguments[0]} failed"
        raise _Unknown(reason, told=bool(first))
    return done.stdout


def _unknown(reason: str) -> str:
    text = UNKNOWN + reason
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
