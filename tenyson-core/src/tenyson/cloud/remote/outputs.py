"""Outputs: what a rented machine may send, by name, number, size and type. It is no friend: whoever wrote the job's code, or broke
into the machine, decides what arrives.

Our own records (`tenyson.cloud.remote.record`) are in a hidden folder, and no hidden name is taken from a machine. Names on the list
below keep their place in the run's folder; any other harmless name goes below `unlisted/`, where nothing of ours looks. All that
is left out is counted and told.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from tenyson.core.run_folder import (
    ADAPTER,
    CANCEL,
    CHECKPOINTS,
    CONFIG,
    CONTROL,
    CONTROL_EXPIRED,
    CONTROL_READ,
    EVENTS,
    EXIT_STATUS,
    JOB_RESULT,
    LOG,
    MODEL,
    PREFLIGHT,
    PROCESS,
    RESULTS,
    SPOOL,
    SPOT_NOTICE,
    STOPPED,
    TERMINATED,
)
from tenyson.errors import BackendError
from tenyson.telemetry.relay.oddities import Oddities

FILES = frozenset(
    (
        LOG, "guard.log", EVENTS, PREFLIGHT, RESULTS, JOB_RESULT, EXIT_STATUS,
        STOPPED, SPOT_NOTICE, CONTROL_READ, CONTROL_EXPIRED, "bucket.json",
    )
)  # fmt: skip
"""At the top of a run's folder: what jobs and those who sit beside them write there."""
FOLDERS = frozenset((CHECKPOINTS, ADAPTER, MODEL, SPOOL, "wandb", "artifacts"))
DATA = (
    ".jsonl", ".csv", ".tsv", ".txt", ".log", ".md", ".html", ".png", ".svg", ".pdf", ".parquet", ".npy", ".npz",
)  # fmt: skip
"""Endings of further files at the top, such as those of a plugin's sink: nothing here decides anything by them."""
OURS = frozenset(
    (
        "machine.json", "sync.json", "relay.json", PROCESS, CONFIG, CONTROL, "control.taken", CANCEL,
        "heartbeat.json", "earlier", "unlisted", TERMINATED,
    )
)  # fmt: skip
"""What only we write here, whatever a machine calls its files."""
EXPECTED = frozenset((CONFIG,))
"""Of these, what every job writes on its machine; ours is here from the beginning."""
UNLISTED = "unlisted"
MOST_FILES = 100_000
MOST_DEPTH = 20
MOST_NAME_BYTES = 200
MOST_PATH_BYTES = 1000
MOST_JSON_BYTES = 64 << 20
MOST_NUMBER = 1 << 53
MOST_TIME_NS = 1 << 62
MOST_TEXT = 2000
_SPOOL = re.compile(r"spool/[A-Za-z0-9]{1,64}-[0-9]{1,9}\.spool")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class OddAnswerError(BackendError):
    """A machine's answer cannot be used as a whole."""


def listed(path: str) -> bool:
    """Whether a name is one that outputs have."""
    first, slash, _ = path.partition("/")
    if not slash:
        return first in FILES or first.endswith(DATA)
    return _SPOOL.fullmatch(path) is not None if first == SPOOL else first in FOLDERS


def fault(path: str) -> str | None:
    """Why a name is not taken from a machine; None where it is."""
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return "a name that leads out of the run's folder"
    if not path.isprintable() or "\\" in path:
        return "a name with characters that names do not have"
    if any(part.startswith(".") for part in parts):
        return "a hidden name"
    if (
        len(path.encode()) > MOST_PATH_BYTES
        or len(parts) > MOST_DEPTH
        or max(len(part.encode()) for part in parts) > MOST_NAME_BYTES
    ):
        return "a name that is too long"
    if _folded(parts[0]) in OURS or path.endswith((".tmp", ".part")):
        return "a name of ours"
    return None


def files_of(data: Any, odd: Oddities) -> dict[str, list[int]]:
    """Size and modification time of the files that a machine lists, as far as they may come here."""
    if not isinstance(data, dict):
        raise OddAnswerError("the machine's list of files is not a list of files")
    found: dict[str, list[int]] = {}
    taken: dict[str, str] = {}
    """Names as a disk sees them that does not tell small letters from capitals."""
    folders: set[str] = set()
    for path, facts in data.items():
        why = fault(path)
        if why is None and len(found) >= MOST_FILES:
            why = f"more than {MOST_FILES:,} files"
        if why is None and not _are_facts(facts):
            why = "a size or time that is none"
        name = _folded(path)
        above = [name[:end] for end, letter in enumerate(name) if letter == "/"]
        if why is None and (name in taken or name in folders or any(one in taken for one in above)):
            why = "a name that another file has, but for its letters' case"
        if why is not None:
            if path not in EXPECTED:
                odd.note(why, path)
            continue
        if not listed(path):
            odd.note(f"a name that outputs do not have: it is in {UNLISTED}/", path)
        taken[name] = path
        folders.update(above)
        found[path] = facts
    return found


def exit_of(data: Any, odd: Oddities) -> dict[str, Any] | None:
    """What the supervisor there wrote down of the job's end."""
    if data is None:
        return None
    code = data.get("exit_code") if isinstance(data, dict) else "odd"
    kills = data.get("oom_kills") if isinstance(data, dict) else None
    if code is not None and not is_integer(code, -256, 256):
        odd.note("an exit status that is none", repr(code)[:40])
        code = None
    found = {"exit_code": code, "oom_kills": kills if is_integer(kills, 0, MOST_NUMBER) else None}
    by = text_of(data.get("by"), 300) if isinstance(data, dict) else None
    return found | ({"by": by} if by else {})


def sums_of(data: Any, files: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 by path, of files that are taken."""
    if not isinstance(data, dict):
        raise OddAnswerError("the machine's sums are none")
    return {
        path: value
        for path, value in data.items()
        if path in files and isinstance(value, str) and _SHA256.fullmatch(value)
    }


def process_of(data: Any) -> dict[str, Any]:
    """The job's process there: only the numbers and the folder, which go back there and nowhere else."""
    data = data if isinstance(data, dict) else {}
    found: dict[str, Any] = {}
    for who in ("supervisor", "job"):
        one = data.get(who)
        if isinstance(one, dict) and is_integer(one.get("pid"), 2, 1 << 31):
            found[who] = {"pid": one["pid"]}
    if (folder := text_of(data.get("folder"))) is not None:
        found["folder"] = folder
    return found


def lost_of(data: Any) -> dict[str, Any] | None:
    """Why a job ended without an end of its own: reason, detail, preempted."""
    from typing import get_args

    from tenyson.cloud.backend import Reason

    if not isinstance(data, dict):
        return None
    reason = data.get("reason")
    return {
        "reason": reason if reason in get_args(Reason) else "lost",
        "detail": text_of(data.get("detail")) or "",
        "preempted": data.get("preempted") is True,
    }


def parse(data: bytes) -> Any:
    """JSON of a machine. Raises: OddAnswerError: too large, too deep, or none."""
    if len(data) > MOST_JSON_BYTES:
        raise OddAnswerError(f"the machine sent more than {MOST_JSON_BYTES >> 20} MiB of JSON")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise OddAnswerError(f"the machine sent what is no JSON: {error}") from error


def is_integer(value: Any, least: int, most: int) -> bool:
    """Whether it is a whole number in these bounds; truth values are none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def text_of(value: Any, most: int = MOST_TEXT) -> str | None:
    """A text for people, without control characters and not endless; None where it is none."""
    from tenyson.core.sanitize import without_controls

    return (
        without_controls(value)[:most].encode("utf-8", "replace").decode() if isinstance(value, str) else None
    )


def _are_facts(facts: Any) -> bool:
    return (
        isinstance(facts, list)
        and len(facts) == 2
        and is_integer(facts[0], 0, MOST_NUMBER)
        and is_integer(facts[1], -MOST_TIME_NS, MOST_TIME_NS)
    )


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
