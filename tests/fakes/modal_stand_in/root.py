"""The root of a container: image layers, the lowest of which is a skeleton with links and a copy of /etc, and this machine's /usr.
Of anything else here, such as the checkout, nothing is seen.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def run(*command: str | Path) -> None:
    """Raises: CalledProcessError."""
    subprocess.run([str(word) for word in command], check=True)


def make_skeleton(root: Path) -> None:
    """The lowest layer, before its commands."""
    for name in ("usr", "opt", "var", "root", "home", "proc", "sys", "dev", "tmp", "run"):
        (root / name).mkdir()
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(Path("/", name).readlink())
    shutil.copytree("/etc", root / "etc", symlinks=True, ignore_dangling_symlinks=True)


def mount_root(root: Path, lower: list[str], upper: Path, work: Path, shared: dict[str, str]) -> None:
    """In a mount namespace of its own; `lower` has the top layer last."""
    for folder in (root, upper, work):
        folder.mkdir(parents=True, exist_ok=True)
    run("mount", "--make-rprivate", "/")
    if lower:
        below = ":".join(reversed(lower))
        options = f"lowerdir={below},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", options, root)
    else:
        run("mount", "--bind", upper, root)
        make_skeleton(root)
    run("mount", "--bind", "/usr", root / "usr")
    run("mount", "-o", "remount,bind,ro", root / "usr")
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
    for place in ("tmp", "run"):
        run("mount", "-t", "tmpfs", "tmpfs", root / place)
    for source, place in shared.items():
        path = root / place.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", source, path)
