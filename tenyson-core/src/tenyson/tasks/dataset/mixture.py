"""Mixtures: rows of several sources, one after the other or by weight."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

Item = TypeVar("Item")


def mixed(
    sources: Sequence[Callable[[], Iterator[Item]]],
    weights: Sequence[float | None],
    seed: int,
    until: Literal["first_used_up", "all_used_up"],
) -> Iterator[tuple[Item, int]]:
    """Items of all sources, each with how often its source has been read before.

    Without weights each source is read once, in order. With weights the next source is drawn each time by its share, until the first
    has no items left, or until each has been read to its end at least once, while the others begin again.

    Args:
        sources: begins to read each.
    """
    if any(weight is None for weight in weights):
        for source in sources:
            yield from ((item, 0) for item in source())
        return
    draw = random.Random(seed)
    places = range(len(sources))
    streams = [source() for source in sources]
    rounds = [0] * len(sources)
    left = set(places)
    while True:
        place = draw.choices(places, [float(weight or 0) for weight in weights])[0]
        item = next(streams[place], None)
        if item is None:
            left.discard(place)
            if until == "first_used_up" or not left:
                return
            rounds[place] += 1
            streams[place] = sources[place]()
            item = next(streams[place], None)
            if item is None:  # a source without any rows
                return
        yield item, rounds[place]
