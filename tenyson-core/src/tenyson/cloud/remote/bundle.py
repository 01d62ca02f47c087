"""The bundle: what a machine must install to run a job as this machine would. Wheels of what is installed from source here,
the versions of here for everything else, and the tested versions of what is not here, such as torch on a laptop.

Needs packaging, which comes with the backends that rent: core alone has no use for it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement

from tenyson.cloud.remote.task_code import EXTRAS, rewards_with_extras
from tenyson.config.checks.quantization import PACKAGES, method_of, quantization_of
from tenyson.core.files.digest import file_sha256
from tenyson.errors import BackendError
from tenyson.jobs.preflight.machine import TESTED
from tenyson.jobs.spec import JobSpec
from tenyson.plugins.job_kinds import recorded_kind

_SKIPPED = {
    ".git",
    ".hg",
    "__pycache__",
    ".venv",
    "venv",
    "dist",
    "build",
    "node_modules",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    "outputs",
}


@dataclass(frozen=True)
class Bundle:
    """What goes to the machine."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    foundation: tuple[str, ...]
    """What of the index the wheels need directly: it changes less often than they do, so that it can be installed before them."""
    wheels: tuple[Path, ...]
    key: str
    """Names the environment that comes of it: equal for equal contents."""


def make_bundle(
    spec: JobSpec, backends: Iterable[str], extras: Iterable[str] = (), *, python: str = ""
) -> Bundle:
    """The bundle of a job; wheels are built once for each state of a source tree. `backends` are distributions that the machine needs.

    Raises: BackendError: a wheel cannot be built, or something was installed from a file that is no longer there.
    """
    wanted = dict.fromkeys(["tenyson-core", *backends, *_named_by(spec)])
    marks = sorted({"train", *extras, *_extras(spec.config), *_of_rewards(spec)})
    requirements, constraints, wheels, parts = [], [], [], [python]
    closure = _closure(wanted, marks)
    foundation: set[str] = set()
    origins = {name: _origin(metadata.distribution(name)) for name in closure}
    sources = {name for name, origin in origins.items() if isinstance(origin, Path)}
    for name, origin in origins.items():
        distribution = metadata.distribution(name)
        extra = f"[{','.join(marks)}]" if name == "tenyson-core" else ""
        if isinstance(origin, Path):
            wheel, digest = _wheel(name, origin)
            wheels.append(wheel)
            parts.append(f"{name} {digest}")
            requirements.append(f"{name}{extra} @ file://WHEELS/{wheel.name}")
            foundation |= _needed(distribution, marks if name == "tenyson-core" else ()) - sources
        elif origin is not None:
            requirements.append(f"{name}{extra} @ {origin}")
        else:
            pin = f"{name}=={_public(distribution.version)}"
            constraints.append(pin)
            if name in wanted:
                requirements.append(f"{name}{extra}=={_public(distribution.version)}")
    pinned = {pin.partition("==")[0] for pin in constraints}
    for name, version in TESTED.items():
        if name not in pinned:
            constraints.append(f"{name}=={_here(name) or version}")
    parts += [*requirements, *sorted(constraints)]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
    return Bundle(
        tuple(requirements), tuple(sorted(constraints)), tuple(sorted(foundation)), tuple(wheels), key
    )


@functools.cache
def owner_of(module: str) -> str | None:
    """The distribution that a module belongs to, by its files or, where it is installed from a folder, by that folder."""
    name = module.partition(".")[0]
    owners = metadata.packages_distributions().get(name)
    if owners:
        return _normal(owners[0])
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if found is None or not found.origin:
        return None
    for distribution in metadata.distributions():
        text = distribution.read_text("direct_url.json")
        place = urlsplit(json.loads(text)["url"]) if text else None
        if place is not None and place.scheme == "file":
            source = Path(unquote(place.path))
            if source.is_dir() and Path(found.origin).is_relative_to(source):
                return _normal(distribution.name)
    return None


def _named_by(spec: JobSpec) -> list[str]:
    """The distributions that a job's configuration names: of its kind, task, model factory, engine and sinks."""
    config = spec.config
    modules = []
    if ".py" not in spec.task and "/" not in spec.task:
        modules.append(spec.task.partition(":")[0])
    if factory := (config.get("model") or {}).get("factory"):
        modules.append(str(factory).partition(":")[0])
    found = [owner for module in modules if (owner := owner_of(module)) is not None]
    names = {
        (config.get("generation") or {}).get("engine"),
        *((config.get("telemetry") or {}).get("sinks") or ()),
    }
    for point in metadata.entry_points(group="tenyson"):
        if point.name in names and point.dist is not None:
            found.append(point.dist.name)
    if (provenance := recorded_kind(spec.job_type).provenance) is not None:
        found.append(provenance.distribution)
    return [_normal(name) for name in found]


def _extras(config: Mapping[str, Any]) -> list[str]:
    """Extras of tenyson-core that a configuration needs."""
    telemetry = config.get("telemetry") or {}
    settings = (telemetry.get("settings") or {}).get("sql", {})
    needs = {
        "vllm": (config.get("generation") or {}).get("engine") == "vllm",
        "openai": (config.get("generation") or {}).get("engine") == "openai",
        "wandb": bool((config.get("wandb") or {}).get("project"))
        or "wandb" in (telemetry.get("sinks") or ()),
        "postgres": str(telemetry.get("db_url") or "").startswith("postgres"),
        "zstd": bool(settings.get("compress")),
    }
    if given := quantization_of((config.get("model") or {}).get("load_args") or {}):
        needs |= {package: method == method_of(given) for method, package in PACKAGES.items()}
    return [name for name, needed in needs.items() if needed]


def _of_rewards(spec: JobSpec) -> list[str]:
    """Extras of tenyson-core that the task's rewards need: a task in one file has no distribution that could name them."""
    return [EXTRAS[name] for name in rewards_with_extras(spec.task)]


def _closure(names: Iterable[str], extras: Iterable[str]) -> list[str]:
    """These and what they need, as far as it is installed here; `extras` are those of tenyson-core."""
    found: dict[str, None] = {}
    waiting = [(name, frozenset(extras) if name == "tenyson-core" else frozenset[str]()) for name in names]
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.pop(0)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = None
        for needed in map(Requirement, distribution.requires or ()):
            if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in ("", *wanted)):
                continue
            one = (_normal(needed.name), frozenset(needed.extras))
            if one not in seen:
                seen.add(one)
                waiting.append(one)
    return list(found)


def _needed(distribution: metadata.Distribution, extras: Iterable[str]) -> set[str]:
    """Names of what a distribution needs, with these extras of it; not those that are extras of its own."""
    return {
        f"{_normal(needed.name)}[{','.join(sorted(needed.extras))}]"
        if needed.extras
        else _normal(needed.name)
        for needed in map(Requirement, distribution.requires or ())
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    }


def _origin(distribution: metadata.Distribution) -> Path | str | None:
    """A folder or wheel here that it was installed from; a VCS address with its commit; None: an index.

    Raises: BackendError: it was installed from a file that is gone.
    """
    text = distribution.read_text("direct_url.json")
    if not text:
        return None
    about = json.loads(text)
    if "vcs_info" in about:
        vcs = about["vcs_info"]
        return f"{vcs['vcs']}+{about['url']}@{vcs['commit_id']}"
    place = urlsplit(about["url"])
    if place.scheme != "file":
        return str(about["url"])
    path = Path(unquote(place.path))
    if not path.exists():
        raise BackendError(
            f"{distribution.name} was installed from a place that is no longer there",
            place=str(path),
            next_step=f"Install it again: pip install {distribution.name}, or from its source.",
        )
    return path


def _wheel(name: str, source: Path) -> tuple[Path, str]:
    """A wheel of a source tree, built once for each state of it, and what names that state."""
    if source.is_file():
        return source, file_sha256(source)
    digest = _digest(source)
    folder = (
        Path(os.environ.get("TENYSON_HOME") or "~/.tenyson").expanduser() / "wheels" / f"{name}-{digest[:24]}"
    )
    built = sorted(folder.glob("*.whl"))
    if built:
        return built[0], digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            draft,
            str(source),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not list(Path(draft).glob("*.whl")):
            raise BackendError(
                f"no wheel of {name} can be built: {(done.stderr or done.stdout).strip()[-1500:]}",
                place=str(source),
                next_step=f"It is installed from source here. `{shlex.join(command[1:4])}` must work; or install a released version.",
            )
        with contextlib.suppress(OSError):  # another process was quicker
            Path(draft).rename(folder)
            Path(draft).mkdir()
    built = sorted(folder.glob("*.whl"))
    return built[0], digest


def _digest(source: Path) -> str:
    """Of the names and contents of all files of a source tree."""
    sums = hashlib.sha256()
    for parent, folders, names in os.walk(source):
        folders[:] = sorted(
            name for name in folders if name not in _SKIPPED and not name.endswith(".egg-info")
        )
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix == ".pyc" or not path.is_file():
                continue
            sums.update(f"{path.relative_to(source)}\0{path.stat().st_size}\0".encode())
            sums.update(path.read_bytes())
    return sums.hexdigest()


def _here(name: str) -> str | None:
    try:
        return _public(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def _public(version: str) -> str:
    """Without the local part: torch 2.13.0+cpu here is torch 2.13.0 there, built for its GPU."""
    return version.partition("+")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
