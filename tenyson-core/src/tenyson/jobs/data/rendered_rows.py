"""Rendered rows: SFT samples as token ids, kept on the disk so that the next start need not render them again."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.core.files.cache_folder import cache_folder
from tenyson.tasks.sample import Sample
from tenyson.tasks.usercode import task_name

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.tasks.plugin import TaskPlugin

WORTH_SECONDS = 2.0
"""Of the processor. Rows that are rendered sooner are not kept."""
_DIGEST = 16
_RENDERED = [one.name for one in fields(Sample) if one.name not in ("id", "data")]
"""What of a sample the model sees."""
_LIBRARIES = ("transformers", "tokenizers", "jinja2")

Row = tuple[list[int], list[int]]
"""T ids, and T ones and zeros: whether each is learnt."""


class RenderedRows:
    """The rows of one split of a task, each found by the content of its sample.

    One file holds the rows that were read last. Its name follows from everything else that a row depends on: the tokenizer with
    its template, the settings, and the code that renders.

    Args:
        path: the file; it need not exist. One that is damaged is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._old = _load(path)
        self._keys: list[bytes] = []
        self._rows: list[Row] = []
        self._seconds = 0.0
        self.found = 0
        """Rows that were there."""

    @classmethod
    def of(cls, task: TaskPlugin, renderer: Renderer, config: Config, split: str) -> RenderedRows:
        """Those of a task's SFT split under a configuration."""
        facts = [renderer.fingerprint(), config.training.reasoning, task_name(task), split, _code()]
        name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        return cls(cache_folder() / "rows" / f"{name}.safetensors")

    def row(self, sample: Sample, render: Callable[[], Row]) -> Row:
        """The row of a sample. `render` is called where it is not there."""
        text = json.dumps({name: getattr(sample, name) for name in _RENDERED}, sort_keys=True, default=str)
        key = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_DIGEST).digest()
        row = self._old.get(key)
        if row is None:
            begun = time.thread_time()
            row = render()
            self._seconds += time.thread_time() - begun
        else:
            self.found += 1
        self._keys.append(key)
        self._rows.append(row)
        return row

    def keep(self) -> None:
        """Write what was read, where rendering took long. Raises: OSError: the folder cannot be written, or is full."""
        if self._seconds < WORTH_SECONDS:
            return
        import numpy as np
        from safetensors.numpy import save_file

        ends = np.cumsum([len(ids) for ids, _ in self._rows], dtype=np.int64)
        tensors = {
            "keys": np.frombuffer(b"".join(self._keys), dtype=np.uint8),
            "ends": ends,
            "ids": np.concatenate([np.asarray(ids, dtype=np.int32) for ids, _ in self._rows]),
            "learnt": np.concatenate([np.asarray(mask, dtype=np.uint8) for _, mask in self._rows]),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            save_file(tensors, draft)
            draft.replace(self._path)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


class _Stored:
    """The rows of a file, made into lists as they are asked for."""

    def __init__(self, tensors: Any) -> None:
        keys = tensors["keys"].tobytes()
        self._at = {keys[start : start + _DIGEST]: start // _DIGEST for start in range(0, len(keys), _DIGEST)}
        self._ends, self._ids, self._learnt = tensors["ends"], tensors["ids"], tensors["learnt"]

    def get(self, key: bytes) -> Row | None:
        at = self._at.get(key)
        if at is None:
            return None
        start, end = int(self._ends[at - 1]) if at else 0, int(self._ends[at])
        return self._ids[start:end].tolist(), self._learnt[start:end].tolist()


def _load(path: Path) -> _Stored | dict[bytes, Row]:
    try:
        from safetensors.numpy import load_file

        return _Stored(load_file(path))
    except (
        Exception
    ):  # not there, cut off, or of another form: rows are rendered, and the file is written again
        return {}


@cache
def _code() -> list[str]:
    """What renders: our own code, which changes between two releases too, and the libraries below it."""
    from tenyson.engines import renderers

    files = sorted(Path(str(renderers.__file__)).parent.glob("*.py"))
    ours = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return [ours, *(_version(name) for name in _LIBRARIES)]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
