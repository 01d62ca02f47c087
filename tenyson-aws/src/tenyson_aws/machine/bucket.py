"""The bucket: a job's files in S3, for when its machine is gone. Written by the machine, read by the next one and from home.

Below `<bucket>/<prefix>/<run id>/<attempt>/` lie the files as in the job's folder, and the mark of how the attempt began.
A checkpoint's manifest is sent last, so that one that has a manifest is whole; of all files the exit status comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tenyson.cloud.remote.poll import files_below
from tenyson.core.run_folder import CHECKPOINTS, EXIT_STATUS, RunFolder
from tenyson.jobs.checkpoints.publication import MANIFEST, check, make_draft, newest_first, point_to, step_of

BROUGHT = "bucket.json"
"""In the job's folder, once it has ended: {"done": true}, or the `trouble` for which not all is in the bucket yet."""
NOT_SENT = (CHECKPOINTS, BROUGHT)
"""Of the folder at the end: checkpoints go by themselves, the guard's own mark not at all."""
BEGUN = {True: "began-from-a-checkpoint", False: "began-from-scratch"}


class Bucket:
    """The files of one attempt. `place` is a bucket's name, or bucket/prefix. Every call raises what boto3 raises."""

    def __init__(self, place: str, region: str | None, run_id: str, attempt: str) -> None:
        import boto3

        self.name, _, prefix = place.removeprefix("s3://").partition("/")
        self._run = "/".join(part for part in (prefix.strip("/"), run_id) if part)
        self._attempt = attempt
        self._s3: Any = boto3.client("s3", region_name=region)
        self._sent: dict[str, tuple[int, int]] = {}

    def begin(self, folder: Path, *, resumes: bool) -> None:
        """Before the job starts in `folder`: whether it resumes earlier attempts, and if so their newest checkpoint."""
        self._s3.put_object(Bucket=self.name, Key=self._key(BEGUN[resumes]), Body=b"")
        if resumes:
            self._fetch_checkpoint(folder)

    def send(self, folder: Path, *, final: bool) -> None:
        """Bring the newest whole checkpoint there; at the end everything else as well."""
        newest = next(iter(newest_first(RunFolder(folder).checkpoints)), None)
        if newest is not None:
            files = [path for path in newest.rglob("*") if path.is_file()]
            self._send(folder, sorted(files, key=lambda path: path.name == MANIFEST))
            self._forget_others(newest.name)
        if final:
            paths = [path for path, _, _ in files_below(folder, NOT_SENT)]
            self._send(
                folder, (folder / path for path in sorted(paths, key=lambda path: path == EXIT_STATUS))
            )

    def listed(self) -> dict[str, list[int]]:
        """What the attempt left but for checkpoints, as the machine named it: size and modification time in ns by path."""
        here = self._key("")
        found = {entry["Key"].removeprefix(here): entry for entry in self._entries(here)}
        return {
            path: [int(entry["Size"]), int(entry["LastModified"].timestamp() * 1e9)]
            for path, entry in found.items()
            if not path.startswith("checkpoints/") and path not in BEGUN.values()
        }

    def read(self, path: str) -> Mapping[str, Any]:
        """S3's answer for one of these, whose `Body` is read once."""
        answer: Mapping[str, Any] = self._s3.get_object(Bucket=self.name, Key=self._key(path))
        return answer

    def _fetch_checkpoint(self, folder: Path) -> None:
        """The newest whole one of the attempts that this one resumes, if it is newer than what is here."""
        here = max((step_of(path) for path in newest_first(RunFolder(folder).checkpoints)), default=-1)
        for attempt in self._line():
            keys = list(self._found("checkpoints/", attempt))
            steps = {key.split("/")[1] for key in keys if key.endswith(f"/{MANIFEST}")}
            for step in sorted(steps, key=lambda name: step_of(Path(name)), reverse=True):
                final = RunFolder(folder).checkpoints / step
                if step_of(final) <= here:
                    return
                draft = make_draft(final)
                for key in keys:
                    if key.startswith(f"checkpoints/{step}/"):
                        path = draft / key.removeprefix(f"checkpoints/{step}/")
                        path.parent.mkdir(parents=True, exist_ok=True)
                        self._s3.download_file(self.name, self._key(key, attempt), str(path))
                if check(draft) is None:
                    draft.rename(final)
                    point_to(final)
                    return

    def _line(self) -> Iterator[str]:
        """The attempts before this one, the latest first, back to the one that began from scratch: what was before that is
        not resumed."""
        began = []
        for entry in self._entries(f"{self._run}/"):
            attempt, _, name = entry["Key"].removeprefix(f"{self._run}/").partition("/")
            if name in BEGUN.values() and attempt != self._attempt:
                began.append((entry["LastModified"], attempt, name))
        for _, attempt, name in sorted(began, reverse=True):
            yield attempt
            if name == BEGUN[False]:
                return

    def _send(self, folder: Path, paths: Iterable[Path]) -> None:
        for path in paths:
            entry = path.stat()
            key = path.relative_to(folder).as_posix()
            mark = (entry.st_size, entry.st_mtime_ns)
            if self._sent.get(key) != mark:
                self._s3.upload_file(str(path), self.name, self._key(key))
                self._sent[key] = mark

    def _forget_others(self, newest: str) -> None:
        """Earlier checkpoints that this process sent: the newest is there whole now."""
        old = [key for key in self._sent if key.startswith("checkpoints/") and key.split("/")[1] != newest]
        for key in old:
            self._s3.delete_object(Bucket=self.name, Key=self._key(key))
            del self._sent[key]

    def _key(self, path: str, attempt: str | None = None) -> str:
        return f"{self._run}/{attempt or self._attempt}/{path}"

    def _found(self, below: str = "", attempt: str | None = None) -> Iterator[str]:
        for entry in self._entries(self._key(below, attempt)):
            yield entry["Key"].removeprefix(self._key("", attempt))

    def _entries(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        for page in pages:
            yield from page.get("Contents", ())
