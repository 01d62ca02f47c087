"""Inputs: everything that decides what a step computes, so that unchanged steps are recognised and changes are named."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.errors import PipelineError, TenysonError
from tenyson.jobs.spec import JobSpec

if TYPE_CHECKING:
    from tenyson.pipeline.journal import Journal
    from tenyson.pipeline.records import AttemptRecord

# Where a step runs and where it is recorded does not change what it computes.
_ELSEWHERE = ("telemetry", "wandb", "hub", "backend")
_NAMES = ("id", "output_dir", "allow")
_PACKAGE_FILES = 2000
_CODE = (".py", ".pyi")
_COMPUTES = ("jobs", "engines", "tasks")


class NothingStoredError(PipelineError):
    """A step that may not be run has no earlier result either."""


class Reuse:
    """Earlier results that stand for a step whose inputs are the same."""

    def __init__(
        self, journal: Journal, *, anew: Collection[str] | None = (), required: Collection[str] = ()
    ) -> None:
        """`anew`: labels of the steps that are run all the same; None for all of them. `required`: of those that may not run."""
        self._journal = journal
        self._anew = anew
        self._required = required

    def inputs(self, spec: JobSpec) -> tuple[Mapping[str, Any] | None, str | None]:
        """A job's inputs and their SHA-256; None for both where its task's code cannot be found."""
        try:
            found = inputs_of(spec)
        except (TenysonError, OSError):
            return None, None
        return found, hash_of(found)

    def find(self, label: str, inputs_hash: str | None) -> AttemptRecord | None:
        """The newest attempt that ended well with these inputs and whose files are still there.

        Raises: NothingStoredError: there is none, and the step may not run.
        """
        if inputs_hash is None or self._anew is None or label in self._anew:
            return None
        found = next((one for one in self._journal.attempts_with_inputs(inputs_hash) if _is_there(one)), None)
        if found is None and label in self._required:
            raise NothingStoredError(
                f"step {label} has no stored result for what is asked now, and --from or --only leaves it out",
                next_step=f"`tenyson why {label}` says what has changed; without the option it is run.",
            )
        return found


def inputs_of(spec: JobSpec) -> dict[str, Any]:
    """Job, task, configuration, seed, digests of what it starts from, sources of task and jobs, versions.

    Raises:
        TaskError: the task cannot be loaded. OSError: a file cannot be read.
    """
    from tenyson.jobs.job import installed_versions

    config = {key: value for key, value in spec.config.items() if key not in _ELSEWHERE}
    run = dict(config.get("run") or {})
    config["run"] = {key: value for key, value in run.items() if key not in _NAMES}
    model, training = dict(config.get("model") or {}), dict(config.get("training") or {})
    made_from = {}
    for section, key in ((model, "name"), (model, "adapter"), (training, "resume_from_checkpoint")):
        reference = section.get(key)
        folder = Path(str(reference)).expanduser() if reference else None
        if folder is not None and folder.exists():
            # A copy elsewhere is the same input; other weights in the same place are not.
            made_from[key] = digest(folder)
            section[key] = "by its digest"
    config |= {"model": model, "training": training}
    task = config.get("task") or {}
    config["task"] = {key: value for key, value in task.items() if key not in ("name", "module")}
    return {
        "job": spec.job_type,
        "task": spec.task.rpartition("/")[2],
        "config": config,
        "made_from": made_from,
        "task_source": task_source(spec.task),
        "job_source": _core_source(),
        "factory_source": _factory_source(model.get("factory")),
        "versions": installed_versions(),
    }


def hash_of(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of inputs in canonical JSON."""
    return sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def task_source(spec: str) -> dict[str, str]:
    """SHA-256 by file of a task's code: all of its package, data included, or its one file. Raises: TaskError."""
    import sys

    from tenyson.tasks.load import load_task_class

    module = sys.modules[load_task_class(spec).__module__]
    top = sys.modules.get(module.__name__.partition(".")[0])
    file, root = getattr(module, "__file__", None), getattr(top, "__file__", None)
    if root is not None and Path(root).name == "__init__.py" and top is not module:
        return package_source(Path(root).parent, code_only=False)
    return {} if file is None else {Path(file).name: digest(Path(file))}


def _core_source() -> dict[str, str]:
    """Of Tenyson itself, what trains, generates and scores; how it is launched, recorded and shown does not count."""
    core = Path(__file__).parents[1]
    return {name: found for part in _COMPUTES for name, found in package_source(core / part).items()}


def _factory_source(factory: str | None) -> dict[str, str]:
    """SHA-256 of the file that builds the model, where one does."""
    if factory is None:
        return {}
    import importlib.util

    module = factory.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    return {module: digest(Path(spec.origin))} if spec is not None and spec.origin else {}


def package_source(folder: Path, *, code_only: bool = True) -> dict[str, str]:
    """SHA-256 by relative path of a package's files."""
    found = {}
    for path in sorted(folder.rglob("*"))[: 10 * _PACKAGE_FILES]:
        if path.is_file() and "__pycache__" not in path.parts and (not code_only or path.suffix in _CODE):
            found[f"{folder.name}/{path.relative_to(folder)}"] = digest(path)
            if len(found) >= _PACKAGE_FILES:
                break
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of its files' names and digests."""
    if path.is_file():
        stat = path.stat()
        return _file_digest(str(path.resolve()), stat.st_mtime_ns, stat.st_size)
    files = {str(one.relative_to(path)): digest(one) for one in sorted(path.rglob("*")) if one.is_file()}
    return sha256(json.dumps(files).encode()).hexdigest()


def differences(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value before, value now) of everything that differs; None for what is missing."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}, key=str):
            yield from differences(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif before != now:
        yield path, before, now


def nearest(attempt: AttemptRecord, earlier: Iterable[AttemptRecord]) -> AttemptRecord | None:
    """Of earlier attempts with known inputs, the one that differs least: same step first, then fewest differences."""

    def distance(other: AttemptRecord) -> tuple[bool, int]:
        return other.label != attempt.label, sum(1 for _ in differences(other.inputs, attempt.inputs))

    return min(earlier, key=distance, default=None)


def in_words(difference: tuple[str, Any, Any]) -> str:
    """One line about a difference."""
    key, before, now = difference
    section, _, name = key.partition(".")
    if section in ("task_source", "job_source", "factory_source"):
        happened = "is new" if before is None else "is gone" if now is None else "was edited"
        return f"{name} {happened}"
    if section == "made_from":
        return f"what {name} refers to has other contents"
    if section == "versions":
        return f"{name} was {before or 'not installed'}, is {now or 'not installed'}"
    return f"{name or key} was {before!r}, is {now!r}"


def _is_there(attempt: AttemptRecord) -> bool:
    result = attempt.result
    if result is None or result.local_output_dir is None:
        return False
    folder = Path(result.local_output_dir)
    own = attempt.handle.data.get("folder") if attempt.handle is not None else None
    if own is not None and folder.resolve() != Path(str(own)):
        # The same relative path means another folder to a pipeline that was begun elsewhere.
        return False
    trained = attempt.spec.job_type == "eval" or any(
        (folder / name).is_dir() for name in ("adapter", "model")
    )
    return trained and (folder / "job_result.json").is_file()


@lru_cache(maxsize=4096)
def _file_digest(path: str, _changed: int, _size: int) -> str:
    import hashlib

    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
