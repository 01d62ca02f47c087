"""Near duplicates: rows that share most of their words in order, found by MinHash (Broder 1997) and locality-sensitive hashing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenyson.core.finding import Finding
from tenyson.errors import MissingDependencyError
from tenyson.tasks.dataset.formats import Example
from tenyson.tasks.dataset.oddities import NAMED, counted, digest
from tenyson.tasks.dataset.row import Row

THRESHOLD = 0.85
"""Jaccard similarity of the sets of shingles from which on two rows are nearly the same."""
SHINGLE = 5
"""Words of a shingle."""
PERMUTATIONS = 64
LEAST = 12
"""Words of a row that is compared: of shorter ones one word decides."""
_WORD = re.compile(r"\w+")


class NearDuplicates:
    """Rows that are nearly the same as an earlier one, within train and between eval and train.

    Raises: MissingDependencyError: datasketch is not installed.
    """

    def __init__(self) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise MissingDependencyError(
                "datasketch",
                needed_for="the search for near duplicates (--no-near leaves it out)",
                install="tenyson-core[data]",
            ) from None
        self._hash = MinHash
        self._index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
        self._places: list[tuple[str, bytes]] = []
        self._found: dict[str, list[str]] = {"train": [], "eval": []}

    def add(self, split: str, row: Row, example: Example) -> None:
        """Compare a row with those before; rows that are exactly the same are told elsewhere."""
        messages = [*example.prompt, *(example.completion or example.chosen)]
        words = _WORD.findall(" ".join(one["content"] for one in messages).lower())
        if len(words) < LEAST:
            return
        shingles = {" ".join(words[at : at + SHINGLE]).encode() for at in range(len(words) - SHINGLE + 1)}
        sketch = self._hash(num_perm=PERMUTATIONS)
        sketch.update_batch(shingles)
        whole = digest(messages)
        near = [self._places[int(at)] for at in self._index.query(sketch)]
        other = next((place for place, theirs in near if theirs != whole), None)
        if other is not None:
            self._found[split].append(f"{row.place}, as {other}")
        if split == "train":
            self._index.insert(str(len(self._places)), sketch)
            self._places.append((row.place, whole))

    def findings(self) -> Iterator[Finding]:
        """One for each split that has such rows."""
        for split, check, where in (
            ("train", "near_duplicates", "an earlier row"),
            ("eval", "near_overlap", "a row of train"),
        ):
            if found := self._found[split]:
                more = " and others" if len(found) > NAMED else ""
                cause = f"nearly the text of {where} in {counted(len(found), f'{split} row')}: {'; '.join(found[:NAMED])}{more}"
                yield Finding(check, "warning", cause, "Look at them; leave out what is not meant.")
