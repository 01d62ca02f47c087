"""The bucket: a job's files in S3, for when its machine is gone. Written by the machine, read by the next one and from home.

Below `<bucket>/<prefix>/<run id>/` lie the files as in the job's folder. A checkpoint's manifest is sent last, so that one that
has a manifest is whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tenyson.jobs.publication import MANIFEST, check, newest_first, point_to

SMALL = (
    "results.json",
    "job_result.json",
    "exit_status.json",
    "config.yaml",
    "stopped.json",
    "log.txt",
    "control.read",
)
FOLDERS = ("adapter", "model", "spool")
BROUGHT = "bucket.json"
"""In the job's folder, once it has ended: {"done": true}, or the `trouble` for which not all is in the bucket yet."""


class Bucket:
    """The files of one run. `place` is a bucket's name, or bucket/prefix. Every call raises what boto3 raises."""

    def __init__(self, place: str, region: str | None, run_id: str) -> None:
        import boto3

        self.name, _, prefix = place.removeprefix("s3://").partition("/")
        self.prefix = "/".join(part for part in (prefix.strip("/"), run_id) if part)
        self._s3: Any = boto3.client("s3", region_name=region)
        self._sent: dict[str, tuple[int, int]] = {}

    def send(self, folder: Path, *, final: bool) -> None:
        """Bring the newest whole checkpoint there; at the end everything else as well."""
        newest = next(iter(newest_first(folder / "checkpoints")), None)
        if newest is not None:
            files = [path for path in newest.rglob("*") if path.is_file()]
            self._send(folder, sorted(files, key=lambda path: path.name == MANIFEST))
            self._forget_others(newest.name)
        if final:
            self._send(folder, (folder / name for name in SMALL if (folder / name).is_file()))
            for name in FOLDERS:
                self._send(folder, (path for path in (folder / name).rglob("*") if path.is_file()))

    def fetch_checkpoints(self, folder: Path) -> Path | None:
        """The newest whole checkpoint, put where a job of that folder looks; None where there is none, or it is here already."""
        keys = list(self._keys("checkpoints/"))
        steps = {key.split("/")[1] for key in keys if key.endswith(f"/{MANIFEST}")}
        for step in sorted(steps, key=lambda name: int(name.rpartition("-")[2]), reverse=True):
            final = folder / "checkpoints" / step
            if final.is_dir():
                return None
            draft = final.with_name(f".draft-{step}")
            for key in keys:
                if key.startswith(f"checkpoints/{step}/"):
                    self.fetch(key, draft / key.removeprefix(f"checkpoints/{step}/"))
            if check(draft) is None:
                draft.rename(final)
                point_to(final)
                return final
        return None

    def fetch_all(self, folder: Path) -> int:
        """Everything that is there of the run; returns how many files."""
        keys = list(self._keys())
        for key in keys:
            self.fetch(key, folder / key)
        return len(keys)

    def fetch(self, key: str, path: Path) -> None:
        """One file."""
        if ".." in Path(key).parts:
            raise ValueError(f"a name in the bucket leads elsewhere: {key}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._s3.download_file(self.name, f"{self.prefix}/{key}", str(path))

    def _send(self, folder: Path, paths: Iterable[Path]) -> None:
        for path in paths:
            entry = path.stat()
            key = path.relative_to(folder).as_posix()
            mark = (entry.st_size, entry.st_mtime_ns)
            if self._sent.get(key) != mark:
                self._s3.upload_file(str(path), self.name, f"{self.prefix}/{key}")
                self._sent[key] = mark

    def _forget_others(self, newest: str) -> None:
        """Earlier checkpoints that this process sent: the newest is there whole now."""
        old = [key for key in self._sent if key.startswith("checkpoints/") and key.split("/")[1] != newest]
        for key in old:
            self._s3.delete_object(Bucket=self.name, Key=f"{self.prefix}/{key}")
            del self._sent[key]

    def _keys(self, below: str = "") -> Iterable[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=f"{self.prefix}/{below}"
        )
        for page in pages:
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(f"{self.prefix}/")
