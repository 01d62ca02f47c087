"""The answers that a run has used: `verdicts.jsonl` in its folder, one a line, with whether the run has paid for it.

It goes where the run goes: a run that is resumed on another machine has the rewards that it had, and its budget counts on. It also has
the answers that could not be read, which no other run is told: that one may find the judge in better order.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tenyson.core.run_folder import RunFolder
from tenyson.rewards.judging.answer import Answer, Spent
from tenyson.rewards.judging.errors import JudgeStoreError


class RunAnswers:
    """The answers of one run. Processes of the run share the file; without a run, they are of this object alone."""

    def __init__(self, folder: RunFolder | None) -> None:
        self._path = None if folder is None else folder.verdicts
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = {}
        self._paid: set[str] = set()
        self._spent: dict[tuple[str, str], Spent] = {}
        self._read = 0
        """Bytes of the file."""
        for earlier in () if folder is None else folder.earlier_verdicts:
            self._take(_whole_lines(earlier, 0))

    def find(self, key: str) -> Answer | None:
        """The answer that the run has had."""
        with self._lock:
            self._refresh()
            return self._answers.get(key)

    def spent(self, url: str, model: str) -> Spent:
        """What the run has had from a model, in all its attempts and processes."""
        with self._lock:
            self._refresh()
            return self._spent.get((url, model), Spent())

    def totals(self) -> list[dict[str, Any]]:
        """What the run has had from each model: url, model, answers, tokens, and cost_usd, which is 0 without prices."""
        with self._lock:
            self._refresh()
            return [
                {
                    "url": url,
                    "model": model,
                    "answers": spent.calls,
                    "tokens": spent.tokens,
                    "cost_usd": spent.usd,
                }
                for (url, model), spent in self._spent.items()
            ]

    def add(self, key: str, answer: Answer, *, url: str, model: str, paid: bool) -> None:
        """Note an answer; one that was known on this machine is not `paid`. Raises: JudgeStoreError: the file cannot be written."""
        with self._lock:
            if self._path is None:
                self._count(key, answer, url, model, paid)
                return
            line = json.dumps({"key": key, "url": url, "model": model, "paid": paid, **asdict(answer)})
            try:
                _append(self._path, line.encode())
            except OSError as error:
                raise JudgeStoreError(
                    f"the judge's answers cannot be kept: {error}", place=str(self._path)
                ) from error

    def _refresh(self) -> None:
        """Read what was added since, by this process or by others."""
        if self._path is not None:
            added = _whole_lines(self._path, self._read)
            self._read += len(added)
            self._take(added)

    def _take(self, lines: bytes) -> None:
        for line in lines.splitlines():
            try:
                one = json.loads(line)
                answer = Answer(
                    str(one["text"]), int(one["prompt_tokens"]), int(one["completion_tokens"]), one["usd"]
                )
                self._count(str(one["key"]), answer, str(one["url"]), str(one["model"]), bool(one["paid"]))
            except (ValueError, KeyError, TypeError):  # cut off by a kill
                continue

    def _count(self, key: str, answer: Answer, url: str, model: str, paid: bool) -> None:
        self._answers.setdefault(key, answer)
        # The files of several machines may hold one answer.
        if paid and key not in self._paid:
            self._paid.add(key)
            self._spent[url, model] = self._spent.get((url, model), Spent()).plus(answer)


def _whole_lines(path: Path, begin: int) -> bytes:
    """What a file has from a byte on, up to its last whole line. Raises: JudgeStoreError: it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(begin)
            added = file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise JudgeStoreError(f"the judge's answers cannot be read: {error}", place=str(path)) from error
    return added[: added.rfind(b"\n") + 1]


def _append(path: Path, line: bytes) -> None:
    """Add a line in one write, since several processes add theirs. Raises: OSError."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        with suppress(OSError):  # some file systems have no locks; then at worst a blank line comes between
            fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        # A line that a kill has cut off must not spoil this one.
        torn = size and os.pread(file, 1, size - 1) != b"\n"
        whole = (b"\n" if torn else b"") + line + b"\n"
        if os.write(file, whole) < len(whole):
            raise OSError(f"no space left for {path.name}")
    finally:
        os.close(file)
