"""Provenance: with which configuration, code, packages and machine an attempt runs. No argv, no environment."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GIT_VARIABLE = "TENYSON_GIT"
"""Holds `git_state` as JSON where a job runs far from its repository."""
_GIT_SECONDS = 10


def gather(config: Mapping[str, Any], *, processes: int = 1, folder: Path | None = None) -> dict[str, Any]:
    """What `attempts` keeps beside the configuration: config_hash, git_commit, git_diff_hash, versions, host,
    accelerator, processes. What cannot be found out is None.

    `folder`: where git is asked; the working directory by default. On a rented machine, what was sent along counts.
    """
    git = json.loads(os.environ.get(GIT_VARIABLE, "null")) or git_state(folder or Path.cwd())
    return {
        "config_hash": config_hash(config),
        **git,
        "versions": distributions(),
        "host": platform.node() or None,
        "accelerator": _accelerator(),
        "processes": processes,
    }


def git_state(folder: Path) -> dict[str, str | None]:
    """git_commit, and git_diff_hash of what is changed since; each None where there is none."""
    return {"git_commit": _git_commit(folder), "git_diff_hash": _git_diff_hash(folder)}


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the configuration without the run's own name: equal for runs that were asked for the same."""
    run = {key: value for key, value in (config.get("run") or {}).items() if key not in ("id", "output_dir")}
    text = json.dumps({**config, "run": run}, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def distributions() -> dict[str, str]:
    """Name and version of every installed distribution."""
    from importlib.metadata import distributions as installed

    found: dict[str, str] = {}
    for distribution in installed():
        name = distribution.metadata["Name"]
        if name:
            # The first one on sys.path is the one that is imported.
            found.setdefault(name, distribution.version)
    return dict(sorted(found.items()))


def _git_commit(folder: Path) -> str | None:
    said = _git(folder, "rev-parse", "--verify", "HEAD")
    return said.decode().strip() if said else None


def _git_diff_hash(folder: Path) -> str | None:
    """SHA-256 of all changes to tracked files since the commit; None for a clean tree."""
    said = _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-color", "--binary")
    return hashlib.sha256(said).hexdigest() if said else None


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _accelerator() -> str | None:
    """Such as "2 x NVIDIA H100 80GB HBM3"; "cpu" where torch sees none; None where torch is not installed."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return None
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        kinds = sorted(set(names))
        return ", ".join(f"{names.count(kind)} x {kind}" for kind in kinds)
    return "cpu"
