"""What a listing leaves out, and the nearest name where one is unknown: said on stderr, so that stdout stays the data."""

from __future__ import annotations

from collections.abc import Collection

import click

from tenyson.core.sanitize import safe

NAMED = 20
"""Names that a message lists; of more it tells the number."""


def say_cut(shown: int, known: int | None, what: str, how: str) -> None:
    """Tell that not all are shown; None where it is only known that there are more. `how`: what shows the rest."""
    if known is None:
        click.echo(f"the first {shown} {what}; there are more: {how}", err=True)
    elif shown < known:
        click.echo(f"{shown} of {known} {what}; {how}", err=True)


def known_names(name: str, names: Collection[str], *, what: str = "known are") -> str:
    """A hint for an unknown name: the nearest one if there is one near, and what there is."""
    from tenyson.config.explain import did_you_mean

    names = list(names) if isinstance(names, (list, tuple)) else sorted(names)
    hint = did_you_mean(name, names)
    listed = f"{what} {some(names)}" if names else ""
    return safe("; ".join(filter(None, (hint, listed))))


def some(names: Collection[str], most: int = NAMED) -> str:
    """The first names, and how many more there are."""
    left = len(names) - most
    return ", ".join([*list(names)[:most], *([f"and {left} more"] if left > 0 else [])])
