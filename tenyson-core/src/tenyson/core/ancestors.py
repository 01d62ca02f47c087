"""Ancestors in a graph of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def ancestors(needs: Mapping[str, Sequence[str]], label: str) -> set[str]:
    """Labels of all steps that a step needs, directly or through others. `needs`: each step's label with those it needs."""
    found: set[str] = set()
    left = list(needs.get(label, ()))
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += needs.get(one, ())
    return found
