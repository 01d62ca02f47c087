"""Identity: whether a folder still holds what an attempt left there. Its name does not tell: another run may have taken it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tenyson.cloud.local.archive import EARLIER
from tenyson.core.run_folder import CONFIG, JOB_RESULT, PROCESS, RESULTS, RunFolder
from tenyson.errors import ModelError, TenysonError
from tenyson.jobs.result import JobResult
from tenyson.pipeline.cache.source import digest
from tenyson.pipeline.journal.records import AttemptRecord

_FILES = (CONFIG, RESULTS, JOB_RESULT)
_TRAINED = ("adapter", "model")


def contents_of(folder: str | Path | None) -> dict[str, str]:
    """SHA-256 of what tells one attempt's folder from another's: configuration, results, what was trained."""
    found: dict[str, str] = {}
    for name in (*_FILES, *_TRAINED) if folder is not None else ():
        path = Path(str(folder)) / name
        try:
            if path.is_dir() if name in _TRAINED else path.is_file():
                found[name] = digest(path)
        except OSError:  # somebody moves it just now: the next one who looks will miss it
            continue
    return found


def displaced(attempt: AttemptRecord, folder: Path, *, weights: bool = True) -> str | None:
    """Why `folder` is not what the attempt left there; None where it is.

    Small files are compared first: another run's folder is found out before its weights are read. `weights`: whether they
    are compared at all.
    """
    if not folder.is_dir():
        return "the folder is gone"
    if _is_of_another_process(attempt, folder):
        return "another run was started in the folder since"
    if attempt.contents:
        return _changed(attempt.contents, folder, (*_FILES, *_TRAINED) if weights else _FILES)
    return None if _is_result(attempt.result, folder) else "its job_result.json is another run's"


def own_result(attempt: AttemptRecord) -> JobResult | None:
    """The attempt's result, for who reads numbers: with the folder that holds its files now, or with none."""
    result = attempt.result
    if result is None or result.local_output_dir is None:
        return result
    folder = Path(result.local_output_dir)
    places = (folder, *sorted(folder.glob(f"{EARLIER}/*")))
    found = next((place for place in places if displaced(attempt, place, weights=False) is None), None)
    return replace(result, local_output_dir=None if found is None else str(found))


def require_own(attempt: AttemptRecord) -> None:
    """Raises: ModelError: the folder of a step that is over no longer holds what this attempt left."""
    result = attempt.result
    if result is None or result.local_output_dir is None:
        return
    why = displaced(attempt, Path(result.local_output_dir))
    if why is not None:
        raise ModelError(
            f"step {attempt.label} of {attempt.pipeline_id} left its files here as run {attempt.run_id}, and they are no "
            f"longer the same: {why}",
            place=result.local_output_dir,
            next_step=f"Run the step again: `tenyson attach {attempt.pipeline_id} --again`.",
        )


def _is_of_another_process(attempt: AttemptRecord, folder: Path) -> bool:
    """A process with its start time names a local attempt; what was taken from an earlier pipeline has none of its own."""
    if attempt.reused_from is not None or attempt.handle is None or attempt.handle.backend != "local":
        return False
    try:
        process: Any = json.loads((folder / PROCESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return not isinstance(process, Mapping) or process.get("job") != attempt.handle.data.get("job")


def _changed(contents: Mapping[str, str], folder: Path, names: Iterable[str]) -> str | None:
    for name in names:
        path = folder / name
        if name not in contents:
            continue
        try:
            if not path.exists():
                return f"its {name} is gone"
            if digest(path) != contents[name]:
                return f"its {name} is not what the run wrote"
        except OSError as error:
            return f"its {name} cannot be read ({error.strerror})"
    return None


def _is_result(result: JobResult | None, folder: Path) -> bool:
    """For attempts of earlier versions, which kept no sums: their results tell the time that they took to the microsecond."""
    if result is None:
        return False
    try:
        left = JobResult.load(RunFolder(folder).job_result)
    except TenysonError:
        return result.status != "success"
    if result.status != "success":
        # The controller gave it another reason.
        return left.run_id == result.run_id and left.status != "success"
    same = ("run_id", "status", "total_time_seconds", "metrics", "hf_revision", "stop_reason")
    return all(getattr(left, name) == getattr(result, name) for name in same)
