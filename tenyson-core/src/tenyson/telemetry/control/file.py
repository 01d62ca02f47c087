"""The control file: requests without a database. `echo stop > <run folder>/control` does what a row would.

One verb a line, such as "pause" or "extend 100"; "id=42" at its end makes it count once, however often it arrives. The job
moves the file aside once it has read it, and writes down in `control.read` what became of each line. A file that lies there when an attempt begins was meant for an earlier one.

A file `spot-notice` beside it, or at the path in TENYSON_SPOT_NOTICE, says that the machine is about to be taken away: whatever
watches for that creates it, and the job saves and ends.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tenyson.core.run_folder import CONTROL, CONTROL_EXPIRED, CONTROL_READ, SPOT_NOTICE
from tenyson.telemetry.control.state import Answer, Asked

NOTICE_VARIABLE = "TENYSON_SPOT_NOTICE"


def write_request(run_dir: Path, verb: str, argument: int | None = None) -> Path:
    """Add a request to the file. Raises: OSError."""
    path = run_dir / CONTROL
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{verb} {argument}\n" if argument is not None else f"{verb}\n")
    return path


def expire(run_dir: Path) -> None:
    """Move a file aside that was meant for an earlier attempt."""
    with contextlib.suppress(OSError):
        (run_dir / CONTROL).replace(run_dir / CONTROL_EXPIRED)
    with contextlib.suppress(OSError):
        (run_dir / SPOT_NOTICE).unlink()


def has_notice(run_dir: Path) -> bool:
    """Whether this machine is about to be taken away."""
    told = os.environ.get(NOTICE_VARIABLE)
    return (run_dir / SPOT_NOTICE).exists() or bool(told and Path(told).exists())


def take_requests(run_dir: Path) -> list[Asked]:
    """The requests that lie there; each is given once."""
    path = run_dir / CONTROL
    if not path.exists():
        return []
    aside = run_dir / f"{CONTROL}.taken"
    try:
        path.replace(aside)
        text = aside.read_text(encoding="utf-8", errors="replace")
        aside.unlink()
    except OSError:
        return []
    _note(run_dir, text)
    return [_parse(line) for line in text.splitlines() if line.strip()]


def note_answer(run_dir: Path, answer: Answer) -> None:
    """Write down what became of a line."""
    name = f" id={answer.asked.key}" if answer.asked.key else ""
    what = f"{answer.asked.verb}{name}: {answer.status}"
    if answer.step is not None:
        what += f" at step {answer.step}"
    if answer.reason:
        what += f": {answer.reason}"
    _note(run_dir, what + "\n")


def _parse(line: str) -> Asked:
    verb, *rest = line.split()
    key = rest.pop().removeprefix("id=") if rest and rest[-1].startswith("id=") else None
    return Asked(verb.lower(), int(rest[0]) if rest and rest[0].isdecimal() else None, key=key)


def _note(run_dir: Path, text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError), (run_dir / CONTROL_READ).open("a", encoding="utf-8") as file:
        file.writelines(f"{stamp} {line}\n" for line in text.splitlines() if line.strip())
