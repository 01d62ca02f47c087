"""The key-value cache of many conversations, in which each one has as many tokens as it has.

A token's column in the cache is its position in its conversation. So no padding is kept, a row can be continued with any number
of tokens, and a mask needs the positions alone.

Shape legend: B conversations; R rows of one forward pass; W new tokens; L columns in use; H heads; D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

_SPARE = 64
"""Columns that are added beyond what is needed, so that not every turn moves the whole cache."""


class ConversationCache(Cache):  # type: ignore[misc]
    """Keys and values of B conversations. The last column takes what padding writes, and nothing reads it."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.columns = 0
        self.place = _Place()
        super().__init__(layer_class_to_replicate=lambda: _Layer(self))

    def make_room(self, length: int) -> None:
        """Let every conversation grow to `length` tokens."""
        if length < self.columns:
            return
        self.columns = length + _SPARE + 1
        for layer in self.layers:
            layer.widen(self.columns)

    def keep(self, rows: torch.Tensor) -> None:
        """Keep these conversations, in this order; one may be named several times."""
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]
        self.rows = len(rows)

    def at(self, rows: torch.Tensor | None, positions: torch.Tensor) -> torch.Tensor:
        """Say where the next forward pass writes and reads; returns what each token may see: bools, (R, 1, W, L).

        Args:
            rows: R indices of conversations, or None for all of them in order.
            positions: (R, W) position of each new token; negative for padding.
        """
        padding = positions < 0
        writing = positions.masked_fill(padding, self.columns - 1)
        width = int(positions.max()) + 1
        index = torch.arange(self.rows, device=positions.device) if rows is None else rows
        self.place = _Place(index[:, None], writing, rows, width)
        seen = torch.arange(width, device=positions.device)
        return (seen <= positions.clamp(min=0)[:, :, None])[:, None]


class _Place:
    """Where a forward pass writes, and which part of the cache it reads."""

    def __init__(
        self,
        index: torch.Tensor | None = None,
        writing: torch.Tensor | None = None,
        rows: torch.Tensor | None = None,
        width: int = 0,
    ) -> None:
        self.index, self.writing, self.rows, self.width = index, writing, rows, width


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values: B x columns x H x D, so that the values of one token lie together."""

    is_sliding = False

    def __init__(self, cache: ConversationCache) -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Zeros: what no token has written yet is masked, and must not be infinite."""
        self.keys, self.values = (
            one.new_zeros(self._cache.rows, self._cache.columns, one.shape[1], one.shape[3])
            for one in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (R, H, W, D), return (R, H, L, D)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        place = self._cache.place
        found = []
        for stored, new in ((self.keys, key_states), (self.values, value_states)):
            stored[place.index, place.writing] = new.transpose(1, 2)
            seen = stored[:, : place.width]
            found.append((seen if place.rows is None else seen[place.rows]).transpose(1, 2))
        return found[0], found[1]

    def widen(self, columns: int) -> None:
        """Make room for `columns` tokens in each row."""
        if self.is_initialized:
            more = columns - self.keys.shape[1]
            self.keys, self.values = (
                torch.nn.functional.pad(one, (0, 0, 0, 0, 0, more)) for one in (self.keys, self.values)
            )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002
        """Length and offset of what is read."""
        return self._cache.place.width, 0

    def get_seq_length(self) -> int:
        """Tokens of the longest conversation of this forward pass, its new ones included."""
        return self._cache.place.width

    def get_max_length(self) -> int:
        """It grows."""
        return -1
