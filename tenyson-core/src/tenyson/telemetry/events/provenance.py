"""Provenance: with which configuration, code, packages and machine an attempt runs. No argv, no environment."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tenyson.config.checks.endpoint import asks_endpoint
from tenyson.telemetry.events.git import UNKNOWN, code_in_words, git_state

__all__ = [
    "GIT_VARIABLE",
    "code_in_words",
    "config_hash",
    "distributions",
    "gather",
    "git_state",
    "launch_environment",
]

GIT_VARIABLE = "TENYSON_GIT"
"""Holds `git_state` as JSON where a job runs far from its repository."""

_NAME = re.compile(r"^Name: *(\S+)", re.MULTILINE)
_VERSION = re.compile(r"^Version: *(\S+)", re.MULTILINE)


def gather(
    config: Mapping[str, Any],
    *,
    processes: int = 1,
    folder: Path | None = None,
    files: Iterable[str | Path] = (),
) -> dict[str, Any]:
    """What `attempts` and `runs` keep beside the configuration: config_hash, git_commit, git_diff_hash, versions, host,
    accelerator, processes. What cannot be found out is None; of changes to the code, "unknown: REASON".

    Args:
        folder: where git is asked; the working directory by default. On a rented machine, what was sent along counts.
        files: the task's own file, which git may not track.
    """
    sent = os.environ.get(GIT_VARIABLE)
    git = _git_sent(sent) if sent else git_state(folder or Path.cwd(), files)
    return {
        "config_hash": config_hash(config),
        **git,
        "versions": distributions(),
        "host": platform.node() or None,
        # What a model behind a URL runs on is not known; looking here would import torch for nothing.
        "accelerator": None if asks_endpoint(config) else _accelerator(),
        "processes": processes,
    }


def launch_environment(folder: Path, task: str) -> dict[str, str]:
    """The environment variables of a job on another machine: what only this one, which launches it, can find out.

    `folder`: where git is asked. `task`: the task's own file, which git may not track.
    """
    return {GIT_VARIABLE: json.dumps(git_state(folder, [task]))}


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
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        # `distribution.metadata` parses the whole text, README included, as an e-mail: 15 times slower, at the start of every job.
        name, version = _NAME.search(text), _VERSION.search(text)
        if name and version:
            # The first one on sys.path is the one that is imported.
            found.setdefault(name[1], version[1])
    return dict(sorted(found.items()))


def _git_sent(text: str) -> dict[str, str | None]:
    """What the machine that asked for the job found out; unknown where it cannot be read."""
    try:
        found = json.loads(text)
        return {name: found[name] for name in ("git_commit", "git_diff_hash")}
    except (ValueError, TypeError, KeyError):
        return {"git_commit": None, "git_diff_hash": f"{UNKNOWN}{GIT_VARIABLE} cannot be read"}


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
