"""Resolution: how a job on a machine ended, by the files here and the record."""

from __future__ import annotations

import json
from pathlib import Path

from tenyson.cloud.backend import Observation
from tenyson.cloud.remote.outputs import MOST_NUMBER, is_integer
from tenyson.cloud.remote.record import Record
from tenyson.cloud.watch.diagnosis import diagnose
from tenyson.core.files.log_tail import log_tail
from tenyson.core.run_folder import SPOT_NOTICE, RunFolder

LOG_TAIL_BYTES = 8192


def resolve(record: Record, folder: Path, taken_back: str) -> Observation:
    """Of a job whose outputs are all here; `taken_back` is what the provider did where it announced the machine's end."""
    ended = record.exit or {}
    code = ended.get("exit_code")
    if code != 0 and (folder / SPOT_NOTICE).is_file():
        return Observation(
            "ended", observed=True, exit_code=code, reason="preempted", preempted=True,
            detail=f"{taken_back}, as it had announced{saved(folder)}",
        )  # fmt: skip
    reason, detail = diagnose(
        code,
        oom_kills=ended.get("oom_kills"),
        log_tail=log_tail(RunFolder(folder).log, LOG_TAIL_BYTES, start=record.log_start),
        by=ended.get("by"),
    )
    return Observation("ended", observed=True, exit_code=code, reason=reason, detail=detail)


def loss(record: Record, folder: Path) -> Observation:
    """Of a job whose machine ended before: what the machine brought to the bucket may still tell how the job ended."""
    assert record.lost is not None
    lost = record.lost
    code = _number(RunFolder(folder).exit_status, "exit_code") if lost.get("from_bucket") else None
    if code == 0:
        return Observation("ended", observed=True, exit_code=0)
    return Observation(
        "ended",
        observed=True,
        exit_code=code,
        reason=lost["reason"],
        preempted=lost["preempted"],
        detail=lost["detail"],
    )


def saved(folder: Path) -> str:
    """Up to where a job that was stopped has saved, as the end of a sentence; empty where it did not say so."""
    step = _number(RunFolder(folder).stopped, "step")
    return "" if step is None else f"; the job has saved at step {step}"


def _number(path: Path, key: str) -> int | None:
    """Of a small file that a machine sent."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(LOG_TAIL_BYTES))[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return value if is_integer(value, -256, MOST_NUMBER) else None
