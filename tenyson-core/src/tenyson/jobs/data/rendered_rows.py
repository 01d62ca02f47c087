"""Rendered rows: SFT samples as token ids, kept on the disk so that the next start need not render them again."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.core.files.cache_folder import cache_folder
from tenyson.core.finding import Finding
from tenyson.jobs.data.token_rows import TokenRows
from tenyson.tasks.sample import Sample
from tenyson.tasks.usercode import task_name

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.tasks.plugin import TaskPlugin

WORTH_SECONDS = 2.0
"""Of the processor. Rows that are rendered sooner are not kept."""
MANY = 50_000
"""Rows that are kept however soon they are rendered: to read their samples takes long."""
EXAMPLES = 16
"""Samples that are kept with them, for the checks."""
_DIGEST = 16
_RENDERED = [one.name for one in fields(Sample) if one.name not in ("id", "data")]
"""What of a sample the model sees."""
_LIBRARIES = ("transformers", "tokenizers", "jinja2")

Row = tuple[list[int], list[int]]
"""T ids, and T ones and zeros: whether each is learnt."""


@dataclass(frozen=True)
class WholeRows:
    """All rows of a split, before they are cut."""

    rows: TokenRows
    names: Sequence[str]
    """R ids of samples."""
    examples: Sequence[Sample]
    """The first samples."""
    findings: list[Finding]
    """What the task had to say of them."""


class RenderedRows:
    """The rows of one split of a task: each found by the content of its sample, or all by a key of their source.

    One file holds the rows that were read last. Its name follows from everything else that a row depends on: the tokenizer with
    its template, the settings, and the code that renders.

    Args:
        path: the file; it need not exist. One that is damaged is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stored = _Stored.of(path)
        self._keys = bytearray()
        self._rows = TokenRows()
        self._names: list[str] = []
        self._examples: list[Sample] = []
        self._seconds = 0.0
        self.found = 0
        """Rows that were there."""

    @classmethod
    def of(cls, task: TaskPlugin, renderer: Renderer, config: Config, split: str) -> RenderedRows:
        """Those of a task's SFT split under a configuration."""
        facts = [renderer.fingerprint(), config.training.reasoning, task_name(task), split, _code()]
        name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        return cls(cache_folder() / "rows" / f"{name}.safetensors")

    def whole(self, key: str | None) -> WholeRows | None:
        """All rows of the file, where they were kept under `key`: no sample need be read."""
        return None if key is None or self._stored is None else self._stored.whole(key)

    def row(self, sample: Sample, render: Callable[[], Row]) -> None:
        """Add the row of a sample. `render` is called where it is not there."""
        text = json.dumps({name: getattr(sample, name) for name in _RENDERED}, sort_keys=True, default=str)
        key = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_DIGEST).digest()
        row = None if self._stored is None else self._stored.get(key)
        if row is None:
            begun = time.thread_time()
            row = render()
            self._seconds += time.thread_time() - begun
        else:
            self.found += 1
        self._keys += key
        self._rows.append(*row)
        self._names.append(sample.id)
        if len(self._examples) < EXAMPLES:
            self._examples.append(sample)

    def read(self) -> WholeRows:
        """The rows that were added."""
        return WholeRows(self._rows, self._names, self._examples, [])

    def keep(self, key: str | None, findings: Sequence[Finding]) -> None:
        """Write what was read, where rendering took long, or reading alone will. Raises: OSError: the folder cannot be written, or is full.

        Args:
            key: what the samples follow from; None where that is not known.
            findings: what the task had to say of them.
        """
        stale = (
            key is not None and len(self._rows) >= MANY and (self._stored is None or self._stored.key != key)
        )
        if self._seconds < WORTH_SECONDS and not stale:
            return
        import numpy as np

        ids, learnt, ends = self._rows.arrays()
        tensors = {
            "keys": np.frombuffer(self._keys, dtype=np.uint8),
            "ends": ends,
            "ids": ids,
            "learnt": learnt,
        }
        facts = {
            "key": key,
            "findings": [asdict(one) for one in findings],
            "examples": [_plain(one) for one in self._examples],
        }
        with suppress(TypeError, ValueError):  # a sample that JSON does not hold is rendered at each start
            tensors["names"] = np.frombuffer(json.dumps(self._names).encode(), dtype=np.uint8)
            self._write(tensors, json.dumps(facts))

    def _write(self, tensors: dict[str, Any], facts: str) -> None:
        from safetensors.numpy import save_file

        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            save_file(tensors, draft, {"facts": facts})
            draft.replace(self._path)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


class _Stored:
    """The rows of a file."""

    def __init__(self, tensors: Any, facts: dict[str, Any]) -> None:
        self._tensors, self._facts = tensors, facts
        self.key: str | None = facts["key"]
        self._rows = TokenRows(tensors["ids"], tensors["learnt"], tensors["ends"])

    @classmethod
    def of(cls, path: Path) -> _Stored | None:
        """None where there is no such file, or it is cut off or of another form: rows are rendered, and it is written again."""
        try:
            from safetensors import safe_open

            with safe_open(path, "np") as file:
                return cls(
                    {name: file.get_tensor(name) for name in list(file.keys())},
                    json.loads(file.metadata()["facts"]),
                )
        except Exception:
            return None

    def get(self, key: bytes) -> Row | None:
        at = self._places.get(key)
        return None if at is None else self._rows[at]

    def whole(self, key: str) -> WholeRows | None:
        if self.key != key:
            return None
        names = json.loads(self._tensors["names"].tobytes())
        examples = [Sample(**one) for one in self._facts["examples"]]
        return WholeRows(self._rows, names, examples, [Finding(**one) for one in self._facts["findings"]])

    @cached_property
    def _places(self) -> dict[bytes, int]:
        keys = self._tensors["keys"].tobytes()
        return {keys[start : start + _DIGEST]: start // _DIGEST for start in range(0, len(keys), _DIGEST)}


def _plain(sample: Sample) -> dict[str, Any]:
    """What checks look at of a sample, as JSON."""
    return {
        "id": sample.id,
        "prompt": list(sample.prompt),
        "completion": list(sample.completion),
        "tools": list(sample.tools),
    }


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
