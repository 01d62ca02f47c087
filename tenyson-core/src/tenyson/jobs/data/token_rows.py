"""Token rows: R sequences of token ids with the mask of what is learnt, in flat arrays: a million rows take seconds and no lists.

Shape legend: R rows of T ids each, N ids in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import numpy as np

IGNORED = -100
"""The label of an id that is not learnt."""


class TokenRows:
    """Rows that grow one by one, or arrays that were kept.

    Args:
        ids: N ids (int32). learnt: N ones and zeros (uint8). ends: R ends of rows among them (int64).
    """

    def __init__(self, ids: Any = None, learnt: Any = None, ends: Any = None) -> None:
        from array import array

        self._ids: Any = array("i") if ids is None else ids
        self._learnt: Any = array("B") if learnt is None else learnt
        self._ends: Any = array("q") if ends is None else ends

    def append(self, ids: Sequence[int], mask: Sequence[int]) -> None:
        """Add a row of T ids with T ones and zeros."""
        self._ids.extend(ids)
        self._learnt.extend(map(int, mask))
        self._ends.append(len(self._ids))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> tuple[list[int], list[int]]:
        """T ids, and T ones and zeros."""
        start, end = self._span(row)
        return self._ids[start:end].tolist(), self._learnt[start:end].tolist()

    @property
    def ids(self) -> Sequence[list[int]]:
        """R lists of ids, made as they are asked for."""
        return _Lists(len(self), lambda start, end: self._ids[start:end].tolist(), self._span)

    @property
    def labels(self) -> Sequence[list[int]]:
        """R lists of labels: the id where it is learnt, else -100."""
        return _Lists(len(self), self._labels_of, self._span)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ids, learnt and ends, without a copy."""
        import numpy as np

        return (
            np.asarray(self._ids, dtype=np.int32),
            np.asarray(self._learnt, dtype=np.uint8),
            np.asarray(self._ends, dtype=np.int64),
        )

    def lengths(self) -> np.ndarray:
        """R lengths in tokens."""
        import numpy as np

        return np.diff(self.arrays()[2], prepend=0)

    def rows_with(self, tokens: Sequence[int]) -> int:
        """How many rows learn any of these tokens."""
        import numpy as np

        ids, learnt, ends = self.arrays()
        found = np.flatnonzero((learnt > 0) & np.isin(ids, np.asarray(list(tokens), dtype=np.int32)))
        return len(np.unique(np.searchsorted(ends, found, side="right")))

    def begin_with(self, tokens: Sequence[int]) -> bool:
        """Whether any row begins with these tokens."""
        import numpy as np

        ids, _, ends = self.arrays()
        starts = np.concatenate([[0], ends[:-1]])[np.diff(ends, prepend=0) >= len(tokens)].astype(np.int64)
        return bool(np.all([ids[starts + at] == token for at, token in enumerate(tokens)], axis=0).any())

    def cut(self, longest: int | None) -> TokenRows:
        """The same rows, each cut to `longest` ids."""
        import numpy as np

        ids, learnt, ends = self.arrays()
        lengths = np.diff(ends, prepend=0)
        if longest is None or not len(self) or lengths.max() <= longest:
            return self
        place = np.arange(len(ids)) - np.repeat(ends - lengths, lengths)
        kept = place < longest
        return TokenRows(ids[kept], learnt[kept], np.cumsum(np.minimum(lengths, longest)))

    def that_learn(self) -> tuple[TokenRows, list[int]]:
        """The rows in which anything is learnt, and the numbers of the others."""
        import numpy as np

        ids, learnt, ends = self.arrays()
        lengths = np.diff(ends, prepend=0)
        counts = np.diff(
            np.concatenate([[0], np.cumsum(learnt, dtype=np.int64)])[np.concatenate([[0], ends])]
        )
        if (counts > 0).all():
            return self, []
        kept = np.repeat(counts > 0, lengths)
        return TokenRows(ids[kept], learnt[kept], np.cumsum(lengths[counts > 0])), np.flatnonzero(
            counts == 0
        ).tolist()

    def dataset(self) -> Any:
        """`input_ids` and `labels` as a `datasets.Dataset`, without a list in between."""
        import numpy as np
        import pyarrow as pa
        from datasets import Dataset

        ids, learnt, ends = self.arrays()
        offsets = np.concatenate([[0], ends])
        labels = np.where(learnt > 0, ids, np.int32(IGNORED))
        small = len(ids) < np.iinfo(np.int32).max
        kind, width = (pa.ListArray, np.int32) if small else (pa.LargeListArray, np.int64)
        columns = {
            name: kind.from_arrays(pa.array(offsets.astype(width)), pa.array(values))
            for name, values in (("input_ids", ids), ("labels", labels))
        }
        return Dataset(pa.table(columns))

    def _span(self, row: int) -> tuple[int, int]:
        return (int(self._ends[row - 1]) if row else 0), int(self._ends[row])

    def _labels_of(self, start: int, end: int) -> list[int]:
        pairs = zip(self._ids[start:end].tolist(), self._learnt[start:end].tolist(), strict=True)
        return [token if learnt else IGNORED for token, learnt in pairs]


class _Lists(Sequence[list[int]]):
    """Rows as lists, each made when it is asked for."""

    def __init__(
        self, number: int, make: Callable[[int, int], list[int]], span: Callable[[int], tuple[int, int]]
    ) -> None:
        self._number, self._make, self._span = number, make, span

    def __len__(self) -> int:
        return self._number

    @overload
    def __getitem__(self, at: int) -> list[int]: ...
    @overload
    def __getitem__(self, at: slice) -> list[list[int]]: ...
    def __getitem__(self, at: int | slice) -> list[int] | list[list[int]]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(self._number))]
        if not -self._number <= at < self._number:
            raise IndexError(at)
        return self._make(*self._span(at % self._number))

    def __iter__(self) -> Iterator[list[int]]:
        return (self._make(*self._span(row)) for row in range(self._number))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]
