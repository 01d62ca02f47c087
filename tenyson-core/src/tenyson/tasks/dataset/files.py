"""Files: the rows of local JSONL, JSON, CSV, TSV and Parquet files, one after the other, each with its line or number.

JSONL and CSV are read line by line, and Parquet group by group: no file but a JSON array is ever held whole. `datasets` is not used
here: it gives all rows one Arrow type, which fills missing keys with null and hides which row is at fault.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import orjson

from tenyson.errors import MissingDependencyError, TaskError
from tenyson.tasks.dataset.row import Row, RowError

LONGEST_ROW = 4_000_000
"""Bytes. A longer row fits no context, and tokenising it takes minutes."""
LARGEST_ARRAY = 1 << 30
"""Bytes of a JSON array, which is read whole."""
BOM = b"\xef\xbb\xbf"
_BATCH = 1024

Read = Iterator[Row | RowError]
"""Rows as they come; what cannot be read of one stands in its place."""


def files_of(path: Path) -> list[Path]:
    """The file itself, or the data files of a folder, by name. Raises: TaskError: there are none, or it is of an unknown kind."""
    if path.is_dir():
        found = sorted(one for one in path.rglob("*") if one.is_file() and kind_of(one) is not None)
        hidden = [one for one in found if any(part.startswith(".") for part in one.relative_to(path).parts)]
        found = [one for one in found if one not in hidden]
        if not found:
            raise TaskError(
                "the folder holds no data file", place=str(path), next_step=f"It may hold {_KNOWN}."
            )
        return found
    if kind_of(path) is None:
        raise TaskError(
            "the ending of this file tells no format", place=str(path), next_step=f"Known are {_KNOWN}."
        )
    return [path]


def kind_of(path: Path) -> str | None:
    """The ending that decides how a file is read; None where it is no data file."""
    suffixes = [one.lower() for one in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in _READERS else None


def read_file(path: Path, label: str) -> Read:
    """The rows of one file. `label` is what places call it. Raises: TaskError: the file cannot be opened or read on."""
    kind = kind_of(path)
    assert kind is not None
    try:
        with _opened(path) as stream:
            yield from _READERS[kind](stream, label)
    except (OSError, EOFError) as error:
        raise TaskError(f"the file cannot be read: {error}", place=str(path)) from error


def has_bom(path: Path) -> bool:
    """Whether a text file begins with a byte order mark."""
    if kind_of(path) == ".parquet":
        return False
    with _opened(path) as stream:
        return stream.read(len(BOM)) == BOM


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb"))


def _jsonl(stream: IO[bytes], label: str) -> Read:
    for number, line in enumerate(stream, 1):
        text = line.removeprefix(BOM) if number == 1 else line
        if text.strip():
            yield _parsed(text, f"{label}:{number}")


def _json(stream: IO[bytes], label: str) -> Read:
    head = stream.read(4096).removeprefix(BOM).lstrip()
    stream.seek(0)
    if not head.startswith(b"["):  # JSON lines under another name
        yield from _jsonl(stream, label)
        return
    text = stream.read(LARGEST_ARRAY + 1)
    if len(text) > LARGEST_ARRAY:
        raise TaskError(
            "a JSON array of more than 1 GiB is not read",
            place=label,
            next_step="Write it as JSONL: one row a line.",
        )
    found = _parsed_json(text.removeprefix(BOM), label)
    if isinstance(found, RowError):
        yield found
        return
    for number, values in enumerate(found, 1):
        yield _checked(values, f"{label}:{number}")


def _csv(stream: IO[bytes], label: str, delimiter: str = ",") -> Read:
    csv.field_size_limit(LONGEST_ROW)
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    while True:
        place, line = f"{label}:{line}", reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RowError(place, f"this is no CSV: {error}")
            return  # where the next row begins is not known
        line = reader.line_num + 1
        if not cells:
            continue
        if header is None:
            header = cells
            if twice := sorted({one for one in cells if cells.count(one) > 1}):
                raise TaskError(f"the header has two columns {twice[0]!r}", place=place)
            continue
        if len(cells) != len(header):
            yield RowError(place, f"it has {len(cells)} cells, and the header {len(header)}")
        elif any(not one.isascii() and _escaped(one) for one in cells):
            yield RowError(place, "it holds bytes that are not UTF-8")
        else:
            yield Row(place, dict(zip(header, cells, strict=True)))


def _tsv(stream: IO[bytes], label: str) -> Read:
    yield from _csv(stream, label, "\t")


def _parquet(stream: IO[bytes], label: str) -> Read:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingDependencyError(
            "pyarrow", needed_for="Parquet files", install="tenyson-core[data]"
        ) from None
    try:
        number = 0
        for batch in ParquetFile(stream).iter_batches(_BATCH):
            for values in batch.to_pylist():
                number += 1
                yield _checked(values, f"{label}:{number}")
    except ArrowException as error:
        raise TaskError(f"the file cannot be read: {error}", place=label) from error


_READERS: Mapping[str, Callable[[IO[bytes], str], Read]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
_KNOWN = f"{', '.join(list(_READERS)[:-1])} and {list(_READERS)[-1]}, text also with .gz"


def _parsed(text: bytes, place: str) -> Row | RowError:
    if len(text) > LONGEST_ROW:
        return RowError(place, f"it has {len(text):,} bytes; a row may have {LONGEST_ROW:,}")
    found = _parsed_json(text, place)
    return found if isinstance(found, RowError) else _checked(found, place)


def _parsed_json(text: bytes, place: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            text.decode()
        except UnicodeDecodeError as fault:
            return RowError(place, f"byte {fault.start + 1} ({text[fault.start]:#04x}) is not UTF-8")
        return RowError(place, f"this is no JSON: {error}")


def _checked(values: Any, place: str) -> Row | RowError:
    if not isinstance(values, dict):
        return RowError(
            place, f"a row is a mapping of columns to values, and this is a {type(values).__name__}"
        )
    return Row(place, values)


def _escaped(text: str) -> bool:
    return any("\udc80" <= sign <= "\udcff" for sign in text)
