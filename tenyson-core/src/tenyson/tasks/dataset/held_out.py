"""Held-out rows: which rows of a source are its eval split, by a hash that further rows do not change."""

from __future__ import annotations

from hashlib import blake2b

import orjson

from tenyson.tasks.dataset.columns import value
from tenyson.tasks.dataset.formats import Example
from tenyson.tasks.dataset.row import Row

_SPACE = 1 << 64


def is_held_out(row: Row, example: Example, fraction: float, key: str | None) -> bool:
    """Whether a row belongs to the eval split. Rows of one key, or of one prompt, are all on one side.

    Raises: RowError: the row has no such key.
    """
    if not fraction:
        return False
    text = value(row, key) if key is not None else [(one["role"], one["content"]) for one in example.prompt]
    digest = blake2b(orjson.dumps(text, default=str, option=orjson.OPT_NON_STR_KEYS), digest_size=8).digest()
    return int.from_bytes(digest) < fraction * _SPACE
