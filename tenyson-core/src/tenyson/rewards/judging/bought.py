"""What a run has paid for: `verdicts.jsonl` in its folder, one answer a line.

It goes where the run goes: a run that is resumed on another machine has the rewards that it had, and its budget counts on. It also has
the answers that could not be read, which no other run is told: that one may find the judge in better order.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict
from pathlib import Path

from tenyson.rewards.judging.answer import Answer, Spent
from tenyson.rewards.judging.errors import JudgeStoreError


class Bought:
    """The answers of one run. Processes of the run share the file; without a file, they are of this object alone."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = {}
        self._spent: dict[tuple[str, str], Spent] = {}
        self._read = 0
        """Bytes of the file."""

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

    def add(self, key: str, answer: Answer, *, url: str, model: str) -> None:
        """Note an answer that was paid for. Raises: JudgeStoreError: the file cannot be written."""
        with self._lock:
            if self._path is None:
                self._count(key, answer, url, model)
                return
            line = json.dumps({"key": key, "url": url, "model": model, **asdict(answer)})
            try:
                with self._path.open("ab+") as file:
                    # A line that a kill cut off must not spoil this one.
                    torn = file.tell() > 0 and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
                    file.write(f"{chr(10) if torn else ''}{line}\n".encode())
            except OSError as error:
                raise JudgeStoreError(
                    f"the judge's answers cannot be kept: {error}", place=str(self._path)
                ) from error

    def _refresh(self) -> None:
        """Read what was added since, by this process or by others."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                added = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise JudgeStoreError(
                f"the judge's answers cannot be read: {error}", place=str(self._path)
            ) from error
        whole = added.rpartition(b"\n")[0]
        if not whole:
            return
        self._read += len(whole) + 1
        for line in whole.split(b"\n"):
            try:
                one = json.loads(line)
                answer = Answer(
                    str(one["text"]), int(one["prompt_tokens"]), int(one["completion_tokens"]), one["usd"]
                )
                self._count(str(one["key"]), answer, str(one["url"]), str(one["model"]))
            except (ValueError, KeyError, TypeError):  # cut off by a kill
                continue

    def _count(self, key: str, answer: Answer, url: str, model: str) -> None:
        self._answers.setdefault(key, answer)
        self._spent[url, model] = self._spent.get((url, model), Spent()).plus(answer)
