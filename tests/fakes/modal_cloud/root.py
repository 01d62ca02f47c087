"""The root of a container: an overlay of image layers over this machine's own root, with what is hidden and shared in it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def run(*command: str | Path) -> None:
    """Raises: CalledProcessError."""
    subprocess.run([str(word) for word in command], check=True)


def mount_root(
    root: Path, lower: list[str], upper: Path, work: Path, hidden: list[str], shared: dict[str, str]
) -> None:
    """In a mount namespace of its own; `lower` has the top layer last."""
    for folder in (root, upper, work):
        folder.mkdir(parents=True, exist_ok=True)
    run("mount", "--make-rprivate", "/")
    below = ":".join([*reversed(lower), "/"])
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={below},upperdir={upper},workdir={work}", root)
    run("mount", "-t", "proc", "proc", root / "proc")
    run("mount", "-t", "tmpfs", "tmpfs", root / "dev")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        (root / "dev" / name).touch()
        run("mount", "--bind", f"/dev/{name}", root / "dev" / name)
    (root / "dev/shm").mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", root / "dev/shm")
    for link, target in (
        ("fd", "/proc/self/fd"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        (root / "dev" / link).symlink_to(target)
    for place in ("/tmp", "/run", *hidden):
        path = root / place.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", path)
    for source, place in shared.items():
        path = root / place.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", source, path)
