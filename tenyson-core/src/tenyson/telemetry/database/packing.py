"""Packing: completions as zstd frames, for those who choose a smaller SQLite file over one that any program reads.

Switched on by `telemetry.settings.sql.compress`. See docs/adr/0005.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenyson.errors import MissingDependencyError

LEVEL = 1
"""Higher ones save 1% on texts of this length and take longer."""


def packer() -> Callable[[str], bytes]:
    """A function that packs one text. It is not for several threads at once.

    Raises: MissingDependencyError: zstandard is not installed.
    """
    compress = _zstandard().ZstdCompressor(level=LEVEL).compress
    return lambda text: compress(text.encode())


def packer_for(db_url: str, *, compress: bool) -> Callable[[str], bytes] | None:
    """The packer of a database whose texts are to be packed; only SQLite's are. Raises: as `packer`."""
    return packer() if compress and db_url.startswith("sqlite") else None


def unpacker() -> Callable[[str | bytes | None], str | None]:
    """A function that gives back the text of a packed or a plain value."""
    decompress: Callable[[bytes], bytes] | None = None

    def unpack(value: str | bytes | None) -> str | None:
        nonlocal decompress
        if not isinstance(value, bytes):
            return value
        decompress = decompress or _zstandard().ZstdDecompressor().decompress
        return decompress(value).decode()

    return unpack


def _zstandard() -> Any:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "zstandard", needed_for="compressed completions", install="tenyson-core[zstd]"
        ) from error
    return zstandard
