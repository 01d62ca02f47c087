"""Input files and variables: what of here a job's configuration names. Files are sent to the same paths there, so that every path in
configuration, lineage and results means the same on both machines.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tenyson.cloud.remote.bundle import owner_of
from tenyson.config.checks.endpoint import asks_endpoint
from tenyson.config.paths import names_a_file
from tenyson.core.run_folder import ADAPTER, CONFIG, MODEL, RunFolder
from tenyson.errors import BackendError
from tenyson.jobs.checkpoints.publication import check, newest_first, point_to
from tenyson.jobs.spec import JobSpec, resume_reference, resumes_latest

SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/sbin", "/sys", "/usr", "/run")


def find_input_files(spec: JobSpec) -> list[Path]:
    """Absolute paths of the files and folders that exist here and that the job reads.

    Raises: BackendError: one of them lies where a machine keeps its system, or the model is behind a URL of this machine.
    """
    _require_reachable(spec.config)
    found = list(dict.fromkeys(path.absolute() for path in _named(spec)))
    for path in [*found, spec.folder.absolute()]:
        if str(path).startswith(tuple(f"{place}/" for place in SYSTEM)):
            raise BackendError(
                "files keep their paths on the machine, and there this path belongs to the system",
                place=str(path),
                next_step="Move it, for example into your home folder.",
            )
    return found


def import_roots(spec: JobSpec) -> list[str]:
    """Folders from which the job imports modules that no installed distribution has."""
    return sorted({str(path.parent) for path in _loose_modules(spec)})


def variables_of(
    config: Mapping[str, Any], forwarded: Sequence[str] = (), *, direct_database: bool = False
) -> dict[str, str]:
    """The environment variables that a job gets, as far as they are set here: tokens of the hub and of W&B, an endpoint's key, what the task
    reads, the database's password where the job itself uses it, and what settings forward.

    All may be secret.
    """
    hub, wandb = config.get("hub") or {}, config.get("wandb") or {}
    names: Sequence[str | None] = [
        hub.get("token_env", "HF_TOKEN"),
        wandb.get("api_key_env", "WANDB_API_KEY") if wandb.get("project") else None,
        (config.get("endpoint") or {}).get("api_key_env") if asks_endpoint(config) else None,
        *((config.get("task") or {}).get("secrets") or ()),
        *(["PGPASSWORD"] if direct_database else []),
        *forwarded,
    ]
    return {name: os.environ[name] for name in names if name and name in os.environ}


def _require_reachable(config: Mapping[str, Any]) -> None:
    url = str((config.get("endpoint") or {}).get("url") or "")
    host = urlsplit(url).hostname or ""
    if asks_endpoint(config) and (host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.")):
        raise BackendError(
            f"endpoint.url is {url}, which another machine does not reach",
            next_step="Run the step with backend.name: local, or give an address that the machine reaches.",
        )


def _named(spec: JobSpec) -> Iterator[Path]:
    model = {} if asks_endpoint(spec.config) else spec.config.get("model") or {}
    for reference in (model.get("name"), model.get("adapter")):
        if reference:
            yield from _found(str(reference), spec)
    if resumes_latest(spec.config):
        yield from newest_checkpoint(spec.folder)
    elif resume := resume_reference(spec.config):
        yield from _found(str(resume), spec)
    yield from _argument_files((spec.config.get("task") or {}).get("args"))
    yield from _used_verdicts(RunFolder(spec.folder))
    file, _, _ = spec.task.partition(".py:")
    path = Path(f"{file}.py" if ".py:" in spec.task else spec.task)
    if path.suffix == ".py" and path.is_file():
        yield path
    yield from _loose_modules(spec)


def _argument_files(value: Any) -> Iterator[Path]:
    """Files and folders that a task's arguments name."""
    if isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _argument_files(item)
    elif (path := names_a_file(value)) is not None:
        yield path


def _used_verdicts(folder: RunFolder) -> Iterator[Path]:
    """A copy of the answers of judges that a run has used: the machine's own file begins where ours ends."""
    if folder.verdicts.is_file():
        copy = folder.earlier_verdicts[0]
        shutil.copyfile(folder.verdicts, copy)
        yield copy


def _found(reference: str, spec: JobSpec) -> Iterator[Path]:
    """A path, or the id of an earlier run: then what that run trained."""
    folder = spec.folder.parent / reference
    if RunFolder(folder).config.is_file():
        yield from (path for path in (folder / name for name in (CONFIG, ADAPTER, MODEL)) if path.exists())
        return
    path = Path(reference).expanduser()
    if not path.exists():
        return
    yield path
    # By which lineage knows the run that made it, and which of its checkpoints is the latest.
    for parent in path.absolute().parents:
        if RunFolder(parent).config.is_file():
            yield RunFolder(parent).config
            break


def newest_checkpoint(folder: Path) -> Iterator[Path]:
    """The newest whole checkpoint of a run, and the pointer to it."""
    for path in newest_first(RunFolder(folder).checkpoints):
        if check(path) is None:
            point_to(path)
            yield path
            yield RunFolder(folder).latest_checkpoint
            return


def _loose_modules(spec: JobSpec) -> Iterator[Path]:
    """Top-level modules of the task and the model factory that are on the path here without being installed."""
    names = []
    if ".py" not in spec.task and "/" not in spec.task:
        names.append(spec.task.partition(":")[0].partition(".")[0])
    if factory := (spec.config.get("model") or {}).get("factory"):
        names.append(str(factory).partition(":")[0].partition(".")[0])
    for name in dict.fromkeys(names):
        if owner_of(name) is not None:
            continue
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            continue
        if found is None or not found.origin or found.origin in ("built-in", "frozen"):
            continue
        origin = Path(found.origin)
        yield origin.parent if origin.name == "__init__.py" else origin
