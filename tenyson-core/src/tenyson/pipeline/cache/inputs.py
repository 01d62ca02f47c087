"""Inputs: everything that decides what a step computes, so that unchanged steps are recognised and changes are named."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.endpoint import asks_endpoint
from tenyson.config.paths import names_a_file
from tenyson.core.run_folder import RunFolder
from tenyson.errors import PipelineError, TenysonError
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.cache.identity import displaced
from tenyson.pipeline.cache.source import core_source, digest, factory_source, job_source, task_source
from tenyson.plugins.job_kinds import recorded_kind
from tenyson.telemetry.control import MANUAL_STOP

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import AttemptRecord

# Where a step runs and where it is recorded does not change what it computes.
_ELSEWHERE = ("telemetry", "wandb", "hub", "backend")
_NAMES = ("id", "output_dir", "allow")
_BY_ITS_DIGEST = "by its digest"


class NothingStoredError(PipelineError):
    """A step that may not run has no earlier result either."""


class Reuse:
    """Earlier results to reuse for steps with the same inputs."""

    def __init__(
        self, journal: Journal, *, anew: Collection[str] | None = (), required: Collection[str] = ()
    ) -> None:
        """`anew`: labels of steps that run even if unchanged; None for all. `required`: labels of steps that may not run."""
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
        """The newest attempt that succeeded with these inputs and whose files still exist.

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
        TaskError: the task cannot be loaded. PluginError: the kind of job cannot. OSError: a file cannot be read.
    """
    from tenyson.jobs.job import installed_versions

    config = {key: value for key, value in spec.config.items() if key not in _ELSEWHERE}
    run = dict(config.get("run") or {})
    config["run"] = {key: value for key, value in run.items() if key not in _NAMES}
    model, training = dict(config.get("model") or {}), dict(config.get("training") or {})
    made_from, unread = {}, unread_sections(spec.job_type)
    for name, section, key in (
        ("model.name", model, "name"),
        ("model.adapter", model, "adapter"),
        ("training.resume_from_checkpoint", training, "resume_from_checkpoint"),
    ):
        reference = None if name.partition(".")[0] in unread else section.get(key)
        if name == "model.name" and asks_endpoint(config):
            continue  # a name at the endpoint
        folder = Path(str(reference)).expanduser() if reference else None
        if folder is not None and folder.exists():
            # A copy elsewhere is the same input; other weights in the same place are not.
            made_from[name] = digest(folder)
            section[key] = _BY_ITS_DIGEST
    config |= {"model": model, "training": training}
    config = _used(spec.job_type, config)
    task = {key: value for key, value in (config.get("task") or {}).items() if key not in ("name", "module")}
    config["task"] = _by_digest(task, "task", made_from)
    return {
        "job": spec.job_type,
        "task": spec.task.rpartition("/")[2],
        "config": config,
        "made_from": made_from,
        "task_source": task_source(spec.task),
        "job_source": core_source() | job_source(spec.job_type),
        "factory_source": factory_source(model.get("factory")),
        "versions": installed_versions(),
    }


def comparable(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Inputs that an earlier version stored, without the sections that it counted although the job does not read them."""
    config = inputs.get("config")
    if not isinstance(config, Mapping):
        return inputs
    return {**inputs, "config": _used(str(inputs.get("job")), config)}


def unread_sections(job: str) -> tuple[str, ...]:
    """Sections that a kind of job does not read: an experiment file and `--set` give them to every step."""
    return recorded_kind(job).unread_sections


def _used(job: str, config: Mapping[str, Any]) -> dict[str, Any]:
    unread = unread_sections(job)
    return {key: value for key, value in config.items() if key not in unread}


def hash_of(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of inputs in canonical JSON."""
    return sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def _by_digest(value: Any, name: str, made_from: dict[str, str]) -> Any:
    """A task's arguments, in which the files and folders that they name stand by their contents."""
    if isinstance(value, Mapping):
        return {key: _by_digest(item, f"{name}.{key}", made_from) for key, item in value.items()}
    if isinstance(value, list):
        return [_by_digest(item, f"{name}.{place}", made_from) for place, item in enumerate(value)]
    path = names_a_file(value)
    if path is None:
        return value
    made_from[name] = digest(path)
    return _BY_ITS_DIGEST


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
        before, now = comparable(other.inputs or {}), comparable(attempt.inputs or {})
        return other.label != attempt.label, sum(1 for _ in differences(before, now))

    return min(earlier, key=distance, default=None)


def in_words(difference: tuple[str, Any, Any], config: Mapping[str, Any] | None = None) -> str:
    """One line about a difference. `config`: of the job whose inputs they are now, which names the files."""
    key, before, now = difference
    section, _, name = key.partition(".")
    if section in ("task_source", "job_source", "factory_source"):
        happened = "is new" if before is None else "is gone" if now is None else "was edited"
        return f"{name} {happened}"
    if section == "made_from":
        file = _value_at(config, name)
        return f"what {name} refers to has other contents" + (f": {file}" if file else "")
    if section == "versions":
        return f"{name} was {before or 'not installed'}, is {now or 'not installed'}"
    return f"{name or key} was {before!r}, is {now!r}"


def _value_at(config: Any, key: str) -> Any:
    for part in key.split("."):
        if isinstance(config, Mapping):
            config = config.get(part)
        elif isinstance(config, list) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        else:
            return None
    return config


def _is_there(attempt: AttemptRecord) -> bool:
    result = attempt.result
    if result is None or result.local_output_dir is None or result.stop_reason == MANUAL_STOP:
        # Somebody ended it where its configuration does not.
        return False
    folder = Path(result.local_output_dir)
    trained = not recorded_kind(attempt.spec.job_type).trains or any(
        (folder / name).is_dir() for name in ("adapter", "model")
    )
    return trained and RunFolder(folder).job_result.is_file() and displaced(attempt, folder) is None
